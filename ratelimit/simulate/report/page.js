"use strict";
// Each card has a curve: the peaks of its callers, upwards, and how many have each. A threshold denies those above it.
const LEFT = 52, RIGHT = 16, WIDTH = 720, HEIGHT = 220, TOP = 34, BOTTOM = 30;
const count = new Intl.NumberFormat("en-US");
const limits = JSON.parse(document.getElementById("data").textContent);

// How many values are at most `threshold`.
function below(values, threshold) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= threshold) low = middle + 1; else high = middle;
  }
  return low;
}

// The multiple times a whole number, exactly: of "1.25" and 950, 1187 or, rounded up, 1188.
function times(threshold, number, up) {
  const [whole, digits = ""] = String(threshold).includes("e") ? [threshold.toFixed(12).replace(/\.?0+$/, "")] : String(threshold).split(".");
  const scale = 10n ** BigInt(digits.length);
  const product = BigInt(whole + digits) * BigInt(number);
  return (product + (up ? scale - 1n : 0n)) / scale;
}

function toml(limit, threshold) {
  const amount = limit.amount, where = "  # " + amount.where;
  if (limit.absolute) return amount.before + threshold + amount.behind + where;
  if (amount.constant !== null)
    return amount.before + times(threshold, amount.constant, false) + amount.behind + where + ", and each override times " + threshold;
  if (amount.terms === null) return "# " + threshold + " times the present max of " + amount.where;
  const sum = amount.terms.map(([factor, name]) => times(threshold, factor, true) + (name ? " * " + name : "")).join(" + ");
  return amount.before.replace(/"$/, "") + '"(' + sum + ")" + (amount.behind || '"') + where;
}

function begin(card, limit) {
  const find = (selector) => card.querySelector(selector);
  const range = find("input[type=range]"), typed = find("input[type=number]"), said = find("output"), code = find("code");
  const svg = find("svg.curve"), here = find(".here"), dot = find(".dot");
  const upTo = [];
  let total = 0;
  for (const callers of limit.callers) upTo.push(total += callers);
  const denied = (threshold) => {
    const at = below(limit.values, threshold);
    return total + limit.beyond - (at ? upTo[at - 1] : 0);
  };
  const stops = [...new Set([0, limit.present, ...Object.values(limit.marks), ...limit.values])].sort((a, b) => a - b);
  const largest = Number(svg.dataset.largest), scale = Number(svg.dataset.scale);
  const x = (threshold) => LEFT + (WIDTH - LEFT - RIGHT) * Math.min(1, Math.log1p(threshold * scale) / Math.log1p(largest * scale));
  const y = (callers) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * Math.log1p(callers) / Math.log1p(Math.max(1, denied(0)));

  function show(threshold, from) {
    const callers = denied(threshold), all = total + limit.beyond;
    const share = all ? (100 * callers / all).toPrecision(2).replace(/\.0$/, "") : "0";
    const name = limit.absolute ? count.format(threshold) : "\u00d7" + threshold;
    const text = (limit.absolute ? "At a max of " : "At ") + name + ": " + (limit.rounded && callers ? "at most " : "") +
      count.format(callers) + " of " + count.format(all) + " callers denied" + (callers ? " (" + Number(share) + " %)" : "");
    said.textContent = text;
    code.textContent = toml(limit, threshold);
    for (const end of ["x1", "x2"]) here.setAttribute(end, x(threshold));
    dot.setAttribute("cx", x(threshold));
    dot.setAttribute("cy", y(callers));
    if (from !== range) range.value = Math.max(0, below(stops, threshold) - 1);
    if (from !== typed) typed.value = threshold;
    range.setAttribute("aria-valuetext", text);
    card.dataset.denied = callers;
  }

  range.max = stops.length - 1;
  typed.step = limit.absolute ? 1 : "any";
  range.addEventListener("input", () => show(stops[Number(range.value)], range));
  typed.addEventListener("input", () => {
    const threshold = limit.absolute ? Math.floor(typed.valueAsNumber) : typed.valueAsNumber;
    if (threshold >= 0) show(threshold, typed);
  });
  for (const button of card.querySelectorAll("button[data-mark]"))
    button.addEventListener("click", () => show(limit.marks[button.dataset.mark], button));
  find("button.copy").addEventListener("click", (event) => copy(code, event.target));
  show(limit.present, null);
}

// A page that may not write the clipboard leaves the text selected.
async function copy(code, button) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    copied = document.execCommand("copy");
  }
  button.textContent = copied ? "Copied" : "Not copied, but selected";
  setTimeout(() => { button.textContent = "Copy as TOML"; }, 1500);
}

document.documentElement.classList.add("scripted");
document.querySelectorAll("section[data-limit]").forEach((card) => begin(card, limits[Number(card.dataset.limit)]));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
