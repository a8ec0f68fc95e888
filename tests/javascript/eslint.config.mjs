import js from "@eslint/js";

// The files are one script in the page: names of one are used in another, which the type checker follows.
export default [
  js.configs.recommended,
  {
    files: ["**/*.js"],
    languageOptions: { sourceType: "script", ecmaVersion: 2022 },
    rules: {
      "no-undef": "off",
      "no-unused-vars": ["error", { vars: "local", args: "none" }],
      "no-loss-of-precision": "off", // constants stand as published, with more digits than float64 holds
      "prefer-const": "error",
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
    },
  },
];
