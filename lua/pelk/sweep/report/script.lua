--- What the page does where scripts run: sorting, filtering, looking at one trial in all charts, choosing along axes.
-- Without it the page shows the same; nothing in it loads or sends anything. It holds no text that would end a script.
return [==[

"use strict";
(function () {
  var root = document.documentElement;
  var trials = JSON.parse(document.getElementById("data").textContent).trials;
  var tip = document.getElementById("tip");
  root.classList.add("script");

  function all(selector, from) { return Array.prototype.slice.call((from || document).querySelectorAll(selector)); }

  function make(name, attributes, text) {
    var node = document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // ---- sorting ----

  // Rows without a value stay last, whichever way the others go.
  function compare(numeric, sign) {
    return function (a, b) {
      if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "") || a.at - b.at;
      var c = numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
      return sign * c || a.at - b.at;
    };
  }

  function sortBy(table, column, sign) {
    var head = table.tHead.rows[0].cells, body = table.tBodies[0];
    var rows = Array.prototype.map.call(body.rows, function (row, at) {
      return { row: row, at: at, key: row.cells[column].dataset.v || "" };
    });
    rows.sort(compare(head[column].classList.contains("n"), sign));
    rows.forEach(function (entry) { body.appendChild(entry.row); });
    Array.prototype.forEach.call(head, function (cell, i) {
      if (i === column) cell.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
  }

  function makeSortable(table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell, column) {
      if (cell.classList.contains("plain")) return;
      var button = make("button", { type: "button" }, cell.textContent);
      cell.textContent = "";
      cell.appendChild(button);
      button.addEventListener("click", function () {
        sortBy(table, column, cell.getAttribute("aria-sort") === "ascending" ? -1 : 1);
      });
    });
    table.tHead.rows[0].cells[0].setAttribute("aria-sort", "ascending");
  }

  all("table.sortable").forEach(makeSortable);

  // ---- one trial in all places ----

  var marks = {};
  all("[data-trial]").forEach(function (node) {
    (marks[node.dataset.trial] = marks[node.dataset.trial] || []).push(node);
  });
  var charts = all("svg.chart");
  var shown = null;

  function describe(t) {
    return "#" + t.rank + (t.value === undefined ? "" : ": " + Number(t.value.toPrecision(5))) + ", " + t.state +
      (t.name ? ", " + t.name : "");
  }

  function show(id) {
    if (id === shown) return;
    (marks[shown] || []).forEach(function (node) { node.classList.remove("on"); });
    (marks[id] || []).forEach(function (node) { node.classList.add("on"); });
    charts.forEach(function (chart) {
      chart.classList.toggle("dim", id !== null && chart.querySelector(".on") !== null);
    });
    shown = id;
  }

  function placeTip(x, y) {
    var box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 4)) + "px";
    tip.style.top = (y + box.height + 24 > innerHeight ? y - box.height - 12 : y + 16) + "px";
  }

  function point(node, x, y) {
    var id = node ? node.dataset.trial : null;
    show(id);
    tip.hidden = id === null || node.tagName === "TR";
    if (tip.hidden) return;
    tip.textContent = describe(trials[id - 1]);
    placeTip(x, y);
  }

  function trialOf(target) { return target.closest ? target.closest("[data-trial]") : null; }

  // The script's tip says more than the charts' own titles, which stay for readers without scripts.
  all("svg [data-trial] > title").forEach(function (title) { title.remove(); });
  document.addEventListener("pointermove", function (e) { point(trialOf(e.target), e.clientX, e.clientY); });
  document.addEventListener("pointerleave", function () { point(null); });
  document.addEventListener("focusin", function (e) {
    var node = e.target.querySelector && e.target.closest("svg") ? e.target.querySelector("[data-trial]") : null;
    if (!node) return;
    var box = node.getBoundingClientRect();
    point(node, box.right, box.bottom);
  });
  document.addEventListener("focusout", function () { point(null); });

  // ---- choosing trials ----

  var words = [], ranges = {}; // of the search, and of the axes: places from..to
  var lines = all("svg.parallel [data-trial]");
  var rows = all("#trials tbody tr");
  var output = make("output", { "aria-live": "polite" });
  var reset = make("button", { type: "button", hidden: "" }, "Show all");

  function fits(row, line) {
    var text = row.textContent.toLowerCase();
    if (!words.every(function (word) { return text.indexOf(word) >= 0; })) return false;
    var axes = Object.keys(ranges);
    if (axes.length === 0) return true;
    if (!line) return false;
    var places = line.dataset.y.split(" ");
    return axes.every(function (n) {
      var y = Number(places[n - 1]);
      return y >= ranges[n].from - 0.5 && y <= ranges[n].to + 0.5;
    });
  }

  function choose() {
    var byTrial = {}, count = 0;
    lines.forEach(function (line) { byTrial[line.dataset.trial] = line; });
    rows.forEach(function (row) {
      var id = row.dataset.trial, inside = fits(row, byTrial[id]);
      count += inside;
      (marks[id] || []).forEach(function (node) { node.classList.toggle("out", !inside); });
    });
    var some = count < rows.length;
    output.textContent = some ? count + " of " + rows.length + " trials" : "";
    reset.hidden = !some && words.length === 0;
  }

  var search = make("input", { type: "search", id: "search", placeholder: "words, e.g. done 31" });
  search.addEventListener("input", function () {
    words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    choose();
  });
  reset.addEventListener("click", function () {
    search.value = "";
    words = [];
    axes.forEach(function (axis) { axis.clear(); });
    choose();
    search.focus();
  });
  var tools = make("div", { "class": "tools" });
  tools.append(make("label", { "for": "search" }, "Filter"), search, reset, output);
  var scroll = document.querySelector("#table .scroll");
  scroll.parentNode.insertBefore(tools, scroll);

  // ---- axes that can be brushed ----

  function brushable(group) {
    var n = group.dataset.axis, area = group.querySelector(".brush"), svg = group.ownerSVGElement;
    var top = Number(area.getAttribute("y")), bottom = top + Number(area.getAttribute("height"));
    var box = null, start = null;

    function draw() {
      var range = ranges[n];
      if (!range) { if (box) { box.remove(); box = null; } return; }
      if (!box) {
        box = area.cloneNode(false);
        box.setAttribute("class", "chosen");
        group.appendChild(box);
      }
      box.setAttribute("y", range.from);
      box.setAttribute("height", Math.max(1, range.to - range.from));
    }

    function set(from, to) {
      ranges[n] = { from: Math.max(top, Math.min(from, to)), to: Math.min(bottom, Math.max(from, to)) };
      draw();
      choose();
    }

    function clear() { delete ranges[n]; draw(); }

    function place(e) {
      var p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return Math.max(top, Math.min(bottom, p.y));
    }

    area.addEventListener("pointerdown", function (e) {
      start = place(e);
      area.setPointerCapture(e.pointerId);
      e.preventDefault();
    });
    area.addEventListener("pointermove", function (e) { if (start !== null) set(start, place(e)); });
    area.addEventListener("pointerup", function (e) {
      if (start !== null && Math.abs(place(e) - start) < 3) { clear(); choose(); }
      start = null;
    });
    area.addEventListener("pointercancel", function () { start = null; });
    group.addEventListener("keydown", function (e) {
      var step = (bottom - top) / 20, range = ranges[n];
      if (e.key === "Escape") { clear(); choose(); return; }
      if (e.key !== "ArrowUp" && e.key !== "ArrowDown") return;
      e.preventDefault();
      var d = e.key === "ArrowUp" ? -step : step;
      if (!range) set(d < 0 ? bottom - 4 * step : top, d < 0 ? bottom : top + 4 * step);
      else if (e.shiftKey) set(d < 0 ? range.from + d : range.from, d < 0 ? range.to : range.to + d);
      else if (range.from + d > top - step && range.to + d < bottom + step) set(range.from + d, range.to + d);
    });
    group.setAttribute("tabindex", "0");
    group.setAttribute("role", "group");
    return { clear: clear };
  }

  var axes = all(".parallel-axis").map(brushable);

  // ---- copying a command ----

  all("code.command").forEach(function (code) {
    var button = make("button", { type: "button", "class": "copy" }, "Copy");
    button.addEventListener("click", function () {
      var done = function () { button.textContent = "Copied"; };
      var select = function () { getSelection().selectAllChildren(code); };
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
      else select();
    });
    code.parentNode.insertBefore(button, code);
  });
})();
]==]
