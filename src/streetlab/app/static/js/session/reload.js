/** Find files again after the page is reloaded: their jobs are remembered until the tab is closed. */

const PLACE = "streetlab.files";

/** Remember the files that the server has, and which of them is open. */
export function remember(uploads, opened) {
  const kept = uploads.filter(upload => upload.kept);
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({files: kept.map(upload => upload.kept), opened: kept.indexOf(opened)}));
  } catch {
    // without storage a reload begins anew
  }
}

/** The remembered files in their order, and the place of the open one. */
export function remembered() {
  try {
    const {files, opened} = JSON.parse(sessionStorage.getItem(PLACE) ?? "{}");
    return {files: Array.isArray(files) ? files : [], opened: Math.max(0, opened)};
  } catch {
    return {files: [], opened: 0};
  }
}
