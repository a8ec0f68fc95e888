"""A course in backpropagation: exercises that are drawn, and backward passes that are graded."""

from __future__ import annotations

from densenet.course.answer import GradedPart, check_answer
from densenet.course.exercise import KINDS, Exercise, exercise
from densenet.course.grade import Grade, grade
from densenet.course.submission import grade_file

__all__ = ["KINDS", "Exercise", "Grade", "GradedPart", "check_answer", "exercise", "grade", "grade_file"]
