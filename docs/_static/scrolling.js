// Code and tables that scroll sideways can be reached with the keyboard.
addEventListener("DOMContentLoaded", () => {
  for (const region of document.querySelectorAll("pre, .table-wrapper, .cell_output .output")) region.tabIndex = 0;
});
