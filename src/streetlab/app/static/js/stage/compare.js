/** Describe the difference of two models on one photo. */

import {differenceOf} from "../paint/difference.js";
import {element, percent} from "../controls/dom.js";
import {titleOf} from "../controls/models.js";

const namesOf = model => model.classes.map(({name}) => name);

/** The difference between two panes as `differenceOf` has it; null where they hold no ids of the same photo. */
export function differenceBetween(first, second) {
  const [one, other] = [first, second].map(({stage}) => stage?.showOnly ? stage.ids : null);
  if (!one || one.length !== other?.length) return null;
  return differenceOf(one, other, namesOf(first.model), namesOf(second.model));
}

/** Write into `box` how much two models differ, and in which classes. */
export function describe(box, {share, swaps}, first, second) {
  const said = element("p", {}, element("b", {id: "differing"}, percent(share)), " of the pixels differ");
  const head = element("tr", {}, ...[titleOf(first.model), titleOf(second.model), "share"].map(text => element("th", {scope: "col"}, text)));
  const rows = swaps.map(swap => element("tr", {},
    element("td", {}, first.model.classes[swap.first].name),
    element("td", {}, second.model.classes[swap.second].name),
    element("td", {class: "number"}, percent(swap.share)),
  ));
  const table = element("table", {class: "swaps"},
    element("caption", {}, "most frequent"), element("thead", {}, head), element("tbody", {}, ...rows));
  box.replaceChildren(said, ...(rows.length ? [table] : []));
}
