// What the app's settings make of the page; the app writes it into the first element.
const { title, examples } = document.documentElement.dataset;

export interface Example {
  question: string;
  /** What it is, where the question itself does not say it at a glance. */
  label?: string;
  /** What is shown in place of the question. */
  shown?: string;
}

const BUILT_IN: Example[] = [
  { label: "Plot a function", question: "Plot sin(x) from 0 to 10" },
  { label: "Ask for today's date", question: "What is the current date and time?" },
  { label: "Solve an equation", question: "Solve x^2 - 5x + 6 = 0" },
  {
    label: "Run code of your own",
    question: "Run this:\n```python\nimport pandas as pd\npd.DataFrame({'city': ['Berne', 'Zurich'], 'people': [133, 402]})\n```",
    shown: "A table of two cities with pandas",
  },
];

export const TITLE = title ?? "Code interpreter";
export const GREETING = title ?? "What do you want to know?";
export const EXAMPLES: Example[] = examples ? (JSON.parse(examples) as string[]).map((question) => ({ question })) : BUILT_IN;
