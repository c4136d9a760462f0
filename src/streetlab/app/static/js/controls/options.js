/** Read the options panel as parameters of a prediction request. */

/** @import {Model} from "../api/client.js" */

/** @param {HTMLFormElement} form @param {Model} model @param {boolean} isVideo */
export function parametersOf(form, model, isVideo) {
  const {mode, flip, scales, smooth, blur} = controlsOf(form);
  /** @type {Record<string, string>} */
  const parameters = {model: model.id};
  if (flip.checked) parameters.flip = "true";
  if (blur.checked) parameters.blur = "true";
  if (scales.value !== "1") parameters.scales = scales.value;
  if (model.activations) parameters.cam = "true";
  // a classifier always sees the whole photo at its training size
  if (model.task === "segmentation" && mode.value !== "resized") parameters.mode = mode.value;
  if (isVideo && Number(smooth.value) > 0) parameters.smooth = smooth.value;
  return parameters;
}

/** Set the options panel to the parameters of a prediction. */
export function setOptions(form, {mode = "resized", flip = "", scales = "1", smooth = "0", blur = ""}) {
  const controls = controlsOf(form);
  Object.assign(controls.flip, {checked: flip === "true"});
  Object.assign(controls.blur, {checked: blur === "true"});
  for (const [name, value] of Object.entries({mode, scales, smooth})) controls[name].value = value;
}

/** @param {HTMLFormElement} form @returns {any} its inputs and selects by their names */
const controlsOf = form => form.elements;

/** List the options that differ from the defaults, for the button that opens the panel. */
export function changedOptions(form) {
  const {mode, flip, scales, smooth, blur} = controlsOf(form);
  return [
    mode.value !== "resized" && mode.value, flip.checked && "flip", scales.value !== "1" && "scales",
    Number(smooth.value) > 0 && "smooth", blur.checked && "blur",
  ].filter(Boolean);
}
