// Shows the values at the pointer in a chart's legend. The page is complete without it.
"use strict";
for (const figure of document.querySelectorAll("figure[data-readings]")) {
  const { at, of, values } = JSON.parse(figure.dataset.readings);
  const drawing = figure.querySelector("svg");
  const cursor = figure.querySelector(".cursor");
  const moment = figure.querySelector(".at");
  const shown = [...figure.querySelectorAll(".legend li:not(.at) b")];
  const most = shown.map((value) => value.textContent);
  if (!at.length) continue;

  const nearest = (share) => {
    let low = 0;
    let high = at.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at[middle] < share) low = middle + 1;
      else high = middle;
    }
    return low > 0 && share - at[low - 1] < at[low] - share ? low - 1 : low;
  };
  const point = (event) => {
    const box = drawing.getBoundingClientRect();
    const column = nearest((event.clientX - box.left) / box.width);
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, `${at[column] * 100}%`);
    cursor.setAttribute("visibility", "visible");
    moment.hidden = false;
    moment.lastElementChild.textContent = of[column];
    shown.forEach((value, line) => (value.textContent = values[line][column]));
  };
  const leave = () => {
    cursor.setAttribute("visibility", "hidden");
    moment.hidden = true;
    shown.forEach((value, line) => (value.textContent = most[line]));
  };
  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerdown", point);
  drawing.addEventListener("pointerleave", leave);
}
