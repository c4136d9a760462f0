// Code, tables and plots that scroll sideways can be reached with the keyboard.
addEventListener("DOMContentLoaded", () => {
  for (const region of document.querySelectorAll("pre, .table-wrapper, .cell_output .output, .study-plot")) region.tabIndex = 0;
});
