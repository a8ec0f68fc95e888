"""A course in backpropagation: exercises that are drawn, and backward passes that are graded."""

from __future__ import annotations

from densenet.course.exercise import KINDS, Exercise, exercise
from densenet.course.grade import Grade, GradedPart, grade
from densenet.course.submission import grade_file

__all__ = ["KINDS", "Exercise", "Grade", "GradedPart", "exercise", "grade", "grade_file"]
