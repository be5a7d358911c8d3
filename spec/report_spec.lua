-- The report of a sweep: what stands in the page, that nothing breaks out of it or is loaded into it, Pareto fronts,
-- means over seeds, and, where chromium is installed, what the page does in a browser.
local core = require("pelk.core")
local help = require("spec.help")
local json = require("pelk.json")
local pelk = require("pelk")
local find_front = require("pelk.sweep.report.front")
local gather = require("pelk.sweep.report.gather")
local groups = require("pelk.sweep.report.groups")
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")
local report = require("pelk.sweep.report")

local dir
setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

-- ---- records by hand ----

local kernels = { { 7, 7, 7 }, { 31, 15, 7 }, { 51, 25, 13 } }

--- 3 kernels x 2 seeds that are done, one that failed, one that waits, one that was stopped.
local function records(word)
  word = word or "plain"
  local list = { dir = "sweeps/" .. word, name = word, goal = "max", metric = "eval_top1", machine = word,
    columns = { "model.kernels", "note", "optimizer.lr", "seed" } }
  local function add(state, i, seed, value, more)
    local n = #list + 1
    local r = { id = ("%016x"):format(n), state = state, value = value, seconds = value and 60.0 + n, command =
      "PELK_SWEEP_TRIAL=" .. word .. " lua5.4 sweep.lua " .. n, folder = dir .. "/none", params = { model = {
      kernels = kernels[i] }, note = word, optimizer = { lr = 10.0 ^ -i }, seed = seed }, metrics = {}, curve = {} }
    if value then
      r.metrics = { top1 = value, params = 100000 * i, macs = 2.5e6 * i, images_per_second = 3000.5 / i }
      for e = 1, 3 do r.curve[e] = { epoch = e, value = value * e / 3, train_loss = 3.0 / e } end
    end
    for key, v in pairs(more or {}) do r[key] = v end
    list[n] = r
  end
  add("failed", 1, 3, nil, { error = word .. " happened\nstack traceback:\n\t" .. word })
  for i = 1, 3 do
    add("done", i, 1, 80.0 + i)
    add("done", i, 2, 80.5 + 2 * i)
  end
  add("waiting", 2, 3)
  add("stopped", 3, 3, 99.0)
  return list
end

local function page(results, given)
  local path = assert(report.write(results, dir .. "/page.html", given))
  assert.equal(dir .. "/page.html", path)
  return help.read(path)
end

-- ---- HTML, read by a small parser of the spec's own ----

local void = { meta = true, link = true, img = true }

--- The tags of a page in order, checked to be balanced; scripts and styles are left empty.
local function tags_of(text)
  text = text:gsub("<(s[ct][ry][il][pe]t?)([^>]*)>.-</%1>", "<%1%2></%1>"):gsub("<!DOCTYPE html>", "")
  local open, tags = {}, {}
  for close, name, rest in text:gmatch("<(/?)([%w]+)([^>]*)>") do
    tags[#tags + 1] = close .. name
    if close == "/" then
      assert.equal(table.remove(open), name)
    elseif not void[name] and rest:sub(-1) ~= "/" then
      open[#open + 1] = name
    end
  end
  assert.same({}, open)
  return tags
end

local function data_of(text)
  return assert(json.decode(text:match('<script id="data" type="application/json">(.-)</script>')))
end

local function column(text, id, at)
  local out, body = {}, text:match('<section[^>]* id="' .. id .. '".-<tbody>(.-)</tbody>')
  for row in body:gmatch("<tr.-</tr>") do
    local cells = {}
    for key in row:gmatch('<td[^>]* data%-v="([^"]*)"') do cells[#cells + 1] = key end
    out[#out + 1] = cells[at]
  end
  return out
end

describe("the page of a sweep", function()
  it("has the best first, then what has a value, then the rest, failures with their error", function()
    local text = page(records())
    tags_of(text)
    assert.same({ "86.5", "84.5", "83.0", "82.5", "82.0", "81.0", "99.0", "", "" }, column(text, "table", 2))
    local states = column(text, "table", 10)
    assert.same({ "done", "stopped", "waiting", "failed" }, { states[6], states[7], states[8], states[9] })
    assert.truthy(text:find("<summary>plain happened</summary><pre>plain happened\nstack traceback:", 1, true))
    assert.truthy(text:find('<code class="command">PELK_SWEEP_TRIAL=plain lua5.4 sweep.lua 7</code>', 1, true))
    assert.truthy(text:find("9 trials: 6 done, 1 stopped, 1 waiting, 1 failed", 1, true))
    assert.truthy(text:find('<b>86.50</b> <a href="#trial-1">#1</a> kernels [51,25,13], note plain, lr 0.001', 1, true))
    assert.truthy(text:find('<time datetime="%d%d%d%d%-%d%d%-%d%dT'))
    assert.equal(9, #data_of(text).trials)
    assert.same({ 51, 25, 13 }, data_of(text).trials[1].params.model.kernels)
  end)

  it("puts the smallest first where less is better", function()
    local results = records()
    results.goal, results.metric = "min", "loss"
    local text = page(results)
    assert.same({ "81.0", "82.0", "82.5" }, { table.unpack(column(text, "table", 2), 1, 3) })
    assert.truthy(text:find("Sweep of loss; less is better", 1, true))
  end)

  it("holds all sections, and leaves out those for which nothing is known", function()
    local function sections(text)
      local ids = {}
      for id in text:gmatch('<section[^>]* id="(%w+)"') do ids[#ids + 1] = id end
      return table.concat(ids, " ")
    end
    assert.equal("table seeds parallel costs curves", sections(page(records())))
    local bare = { { id = "a", params = {}, state = "waiting" } }
    assert.equal("table", sections(page(bare)))
    assert.equal("table", sections(page({})))
    local odd = { { id = "a", params = {}, state = "done", value = 0 / 0, metrics = { params = math.huge } },
      { id = "b", params = {}, state = "odd", value = 1, seconds = 1e9 } }
    assert.equal("table", sections(page(odd)))
  end)

  it("draws every trial with a value, and each chart of costs with its front", function()
    local text = page(records())
    local _, lines = text:match('<section[^>]* id="parallel".-</section>'):gsub("<polyline", "")
    assert.equal(7, lines)
    local costs = text:match('<section[^>]* id="costs".-</section>')
    local _, charts = costs:gsub("<svg", "")
    local _, dots = costs:gsub("<circle", "")
    local _, fronts = costs:gsub('<path class="front"', "")
    assert.same({ 3, 21, 3 }, { charts, dots, fronts })
    assert.truthy(costs:find('<a href="#trial-3">#3</a> kernels [7,7,7]', 1, true) or
      costs:find('<a href="#trial-4">#4</a> kernels [7,7,7]', 1, true)) -- 82.5 at the least parameters
    assert.truthy(costs:find("Pareto front: 3 of 7", 1, true))
    local _, curves = text:match('<section[^>]* id="curves".-</section>'):gsub("<polyline", "")
    assert.equal(2 * 7, curves) -- the value, and the training loss
  end)

  it("cannot be broken out of", function()
    local hostile = "</script><script>alert(1)</script><!-- \"'&<b>]]>\0\27\255\u{2028} grün 漢"
    local calm, wild = page(records("x")), page(records(hostile))
    assert.equal(table.concat(tags_of(calm), " "), table.concat(tags_of(wild), " "))
    assert.is_nil(wild:find("<script>alert", 1, true))
    assert.is_nil(wild:find("[%z\27\255]"))
    assert.truthy(utf8.len(wild))
    assert.truthy(wild:find("&lt;script&gt;alert(1)&lt;/script&gt;", 1, true))
    assert.truthy(data_of(wild).trials[1].command:find("</script><script>alert(1)", 1, true))
    assert.truthy(wild:find("grün 漢", 1, true))
  end)

  it("loads nothing", function()
    local text = page(records())
    assert.is_nil(text:find("https?:")) -- not even a name space: SVG in HTML needs none
    for name, value in text:gmatch('%s(%a+)="([^"]*)"') do
      if name == "src" then assert.truthy(value:find("^data:image/png;base64,")) end
      if name == "href" then assert.truthy(value:find("^#trial%-%d+$") or value == "data:,") end
    end
    assert.is_nil(text:find("@import", 1, true))
    assert.is_nil(text:find("url(", 1, true))
    assert.truthy(text:find("default-src &#39;none&#39;", 1, true))
  end)

  it("is refused, or fails, with a message", function()
    help.raises("did you mean 'title'", report.write, {}, dir .. "/x.html", { titel = "x" })
    help.raises("wants the results of a sweep, got number", report.write, 3, dir .. "/x.html")
    help.raises("record 2 is no table", report.write, { {}, 3 }, dir .. "/x.html")
    help.raises("wants the path", report.write, {}, "")
    help.refuses("No such file", report.write({}, dir .. "/no/such/x.html"))
    help.refuses("holds no sweep", pelk.sweep.report(dir .. "/none"))
  end)

  it("takes a title, and grows with many trials without trouble", function()
    local many = { columns = { "a", "b" }, metric = "value" }
    for i = 1, 700 do
      many[i] = { id = tostring(i), state = "done", value = i + 0.5, params = { a = i, b = i % 7 == 0 and "x" or nil },
        metrics = { params = i * i }, curve = {} }
      for e = 1, 400 do many[i].curve[e] = { epoch = e, value = e * i + 0.5 } end
    end
    local text = page(many, { title = "A <title>" })
    tags_of(text)
    assert.truthy(text:find("<h1>A &lt;title&gt;</h1>", 1, true))
    assert.truthy(#text < 3e6)
    assert.truthy(text:find("The best 60 trials; 640 more have curves", 1, true))
    assert.truthy(text:find("Not drawn: 200", 1, true))
  end)
end)

describe("a Pareto front", function()
  local function beats(p, q, sx, sy)
    return sx * p[1] <= sx * q[1] and sy * p[2] <= sy * q[2] and (p[1] ~= q[1] or p[2] ~= q[2])
  end

  it("holds exactly the points that no other beats", function()
    math.randomseed(11)
    for round = 1, 200 do
      local points, n = {}, math.random(0, 30)
      for i = 1, n do points[i] = { math.random(1, 9), math.random(1, 9) } end
      for goal_x, sx in pairs { min = 1, max = -1 } do
        for goal_y, sy in pairs { min = 1, max = -1 } do
          local inside = {}
          for _, i in ipairs(find_front(points, goal_x, goal_y)) do inside[i] = true end
          for i, p in ipairs(points) do
            local beaten = false
            for _, q in ipairs(points) do beaten = beaten or beats(q, p, sx, sy) end
            assert.equal(not beaten, inside[i] == true, ("round %d, point %d"):format(round, i))
          end
        end
      end
    end
  end)

  it("goes from left to right", function()
    assert.same({ 3, 1 }, find_front({ { 5, 9 }, { 6, 2 }, { 1, 4 } }, "min", "max"))
    assert.same({ 1 }, find_front({ { 5, 9 }, { 3, 2 } }, "max", "max"))
  end)
end)

describe("means over seeds", function()
  it("are of trials that are done and differ in the seed alone", function()
    local list = groups.of(gather.all(records()))
    assert.equal(3, #list)
    assert.same({ 84.75, 2, 83.0, 86.5 }, { list[1].mean, list[1].n, list[1].low, list[1].high })
    assert.near(2.4748737341529163, list[1].deviation, 1e-12) -- 3.5 / sqrt(2)
    assert.is_nil(groups.moments({ 4 }).deviation)
    assert.near(2.138089935299395, groups.moments({ 2, 4, 4, 4, 5, 5, 7, 9 }).deviation, 1e-12)
    local text = page(records())
    assert.truthy(text:find("<b>84.75</b> ± 2.5", 1, true))
  end)

  it("are left out where no seed varies", function()
    local results = records()
    results.columns = { "model.kernels" }
    assert.is_nil(groups.of(gather.all(results)))
  end)
end)

describe("numbers", function()
  it("are short", function()
    local said = {}
    for i, v in ipairs { 0, 3, 0.004, 91.5234, 12345.678, 4.1e-5, 1e-10, 2e8, -0.5 } do said[i] = numbers.short(v) end
    assert.equal("0 3 0.004 91.52 1.235e4 4.1e-5 1e-10 2e8 -0.5", table.concat(said, " "))
    assert.equal("443.2 k", numbers.count(443210))
    assert.equal("12.3 M", numbers.count(12.3e6))
    assert.equal("1.5 G", numbers.count(1500000000))
    local format = numbers.column { 90.8, 91.456, 7 }
    assert.same({ "90.80", "91.46" }, { format(90.8), format(91.456) })
    assert.equal("0.0012", numbers.column { 0.0012, 0.5 }(0.0012))
  end)

  it("have places on axes, logarithmic ones where they lie far apart", function()
    local s = numbers.scale({ 0, 10 }, { from = 0, to = 100, margin = 0 })
    assert.same({ 0.0, 50.0, 100.0 }, { s(0), s(5), s(10) })
    assert.same({ 0, 2, 4, 6, 8, 10 }, s.ticks)
    s = numbers.scale({ 1, 1000 }, { from = 0, to = 90, margin = 0, log = "auto" })
    assert.is_true(s.log)
    assert.near(30, s(10), 1e-9)
    for i, v in ipairs { 1, 10, 100, 1000 } do assert.near(v, s.ticks[i], 1e-9) end
    assert.is_false(numbers.scale({ 0, 1000 }, { from = 0, to = 1, log = "auto" }).log)
    s = numbers.scale({ 3 }, { from = 0, to = 10 }) -- one value lies in the middle
    assert.near(5, s(3), 1e-9)
    assert.truthy(#s.ticks > 0)
    assert.same({ 1, 2, 3 }, numbers.scale({ 1, 3 }, { from = 0, to = 1, whole = true, margin = 0.01 }).ticks)
  end)
end)

describe("text", function()
  it("is base64 as in RFC 4648, section 10", function()
    local wanted = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" }
    for i, code in ipairs(wanted) do assert.equal(code, html.base64(("foobar"):sub(1, i - 1))) end
    assert.equal("AP+A", html.base64("\0\255\128"))
  end)

  it("is made valid", function()
    assert.equal("a\u{FFFD}b", html.clean("a\255b"))
    assert.equal("\u{FFFD}\u{FFFD}", html.clean("\237\160"))
    assert.equal("ok\t\nü\u{FFFD}", html.clean("ok\t\nü\0"))
  end)
end)

-- ---- with a sweep and its runs ----

--- A sweep of two real trainings, of a moment each.
local function real_sweep()
  pelk.manual_seed(3)
  local set = pelk.data.tensors(pelk.rand { 32, 28, 28, 1 }, pelk.randint(1, 10, { 32 }))
  local loader = pelk.data.loader(set, { batch = 16 })
  local sweep = pelk.sweep
  local space = { kernels = sweep.choice { { 9, 7, 5 }, { 13, 7, 5 } } }
  return sweep { dir = dir .. "/real", progress = false, space = space,
    objective = function(params, trial)
      local model = pelk.models.create("pelk_nano", { kernels = params.kernels, depths = { 1, 1, 1 },
        dims = { 8, 16, 32 } })
      trial:train { model = model, train = loader, val = loader, epochs = 2, progress = false,
        optimizer = { name = "adamw", lr = 1e-3 } }
    end }
end

local real

describe("the report of a sweep that trained", function()
  setup(function()
    real_sweep()
    real = assert(pelk.sweep.report(dir .. "/real"))
  end)

  it("has the kernels that were learned, as pictures", function()
    assert.equal(dir .. "/real/report.html", real)
    local text = help.read(real)
    tags_of(text)
    local section = text:match('<section[^>]* id="kernels".-</section>')
    local _, pictures = section:gsub("<img", "")
    assert.equal(2 * 4, pictures) -- 3 stages, and the channels of the first
    assert.truthy(section:find("stages.0.blocks.0.conv_dw.large.conv</code> 13x13, 9x9 weights; mean |w|", 1, true))
    for data in section:gmatch("base64,([%w+/=]+)") do assert.equal("iVBORw0KGgo", data:sub(1, 11)) end
    local without = help.read(assert(pelk.sweep.report(dir .. "/real", { path = dir .. "/b.html", kernels = 0 })))
    assert.is_nil(without:find("<img", 1, true))
  end)

  it("knows what the trials cost and how they learned", function()
    local text = help.read(real)
    local _, charts = text:match('<section[^>]* id="costs".-</section>'):gsub("<svg", "")
    assert.equal(3, charts)
    assert.truthy(text:find('<section[^>]* id="curves"'))
  end)

  it("takes curves from summary.csv of the run where a trial reported none", function()
    local results = pelk.sweep.read(dir .. "/real")
    local own = {}
    for i, r in ipairs(results) do own[i], r.curve = #r.curve, nil end
    assert.same({ 2, 2 }, own)
    local d = gather.all(results)
    for _, row in ipairs(d.rows) do
      assert.equal(2, #row.curve)
      assert.near(row.value, row.curve[2].value, 1e-3)
      assert.truthy(row.curve[1].train_loss)
    end
  end)
end)

-- ---- in a browser ----

local probe = [==[
<!DOCTYPE html><meta charset="utf-8"><body><script>
"use strict";
const PAGE = %s;
const watch = "<head><script>var errors = []; addEventListener('error', e => errors.push(e.message));" +
  "addEventListener('securitypolicyviolation', e => errors.push(e.violatedDirective));<\/script>";
function frame(width, sandbox) {
  const f = document.createElement("iframe");
  f.width = width; f.height = 800;
  if (sandbox) f.setAttribute("sandbox", "allow-same-origin");
  return new Promise(done => {
    f.onload = () => done(f.contentWindow);
    f.srcdoc = sandbox ? PAGE : PAGE.replace("<head>", watch);
    document.body.appendChild(f);
  });
}
const ranks = w => [...w.document.querySelectorAll("#trials tbody tr")].filter(
  r => w.getComputedStyle(r).display !== "none").map(r => Number(r.dataset.trial));
const fits = w => w.document.documentElement.scrollWidth <= w.innerWidth;
function press(w, column) {
  const cell = w.document.querySelector("#trials").tHead.rows[0].cells[column];
  cell.querySelector("button").click();
  return [cell.getAttribute("aria-sort"), ranks(w)];
}
function use(w) {
  const d = w.document, out = {};
  out.first = ranks(w);
  out.value_up = press(w, 1);
  out.value_down = press(w, 1);
  out.kernels_up = press(w, 2);
  out.again = press(w, 0);
  out.buttons = [...d.querySelectorAll("th button")].every(b => b.tabIndex === 0);
  const search = d.querySelector("#search");
  search.value = "done [7,7"; search.dispatchEvent(new w.Event("input"));
  out.found = ranks(w);
  out.said = d.querySelector(".tools output").textContent;
  d.querySelector(".tools button").click();
  out.all = ranks(w).length;
  const axes = d.querySelectorAll(".parallel-axis"), last = axes[axes.length - 1];
  last.dispatchEvent(new w.KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
  out.low = ranks(w);
  last.dispatchEvent(new w.KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  out.after = ranks(w).length;
  const dot = d.querySelector("#costs circle");
  dot.dispatchEvent(new w.PointerEvent("pointermove", { bubbles: true, clientX: 9, clientY: 9 }));
  out.lit = [...new Set([...d.querySelectorAll(".on")].map(n => n.dataset.trial))];
  out.lit_places = d.querySelectorAll(".on").length;
  out.tip = d.querySelector("#tip").textContent;
  out.pictures = [...d.images].every(i => i.complete && i.naturalWidth > 0);
  out.errors = w.errors;
  return out;
}
(async () => {
  const said = {};
  try {
    said.narrow = fits(await frame(360));
    said.desk = use(await frame(1280));
    const still = await frame(360, true);
    said.still = { rows: ranks(still), fits: fits(still), buttons: still.document.querySelectorAll("button").length };
  } catch (e) { said.broken = String(e.stack); }
  const pre = document.createElement("pre");
  pre.id = "said"; pre.textContent = JSON.stringify(said);
  document.body.replaceChildren(pre);
})();
</script>]==]

local function chromium()
  for _, name in ipairs { "chromium", "chromium-browser", "google-chrome" } do
    if os.execute("command -v " .. name .. " >/dev/null 2>&1") then return name end
  end
end

local function browse(browser, path)
  local command = ("env -u LD_PRELOAD %s --headless --no-sandbox --disable-gpu --disable-extensions --no-first-run "
    .. "--disable-background-networking --user-data-dir='%s/profile' --virtual-time-budget=60000 "
    .. "--enable-logging=stderr --dump-dom 'file://%s' 2>'%s/log'"):format(browser, dir, path, dir)
  local pipe = io.popen(command)
  local dom = pipe:read("a")
  pipe:close()
  local log = help.read(dir .. "/log")
  return dom, log
end

local entities = { ["&lt;"] = "<", ["&gt;"] = ">", ["&amp;"] = "&", ["&nbsp;"] = "\u{a0}" }

describe("in a browser", function()
  it("sorts, filters, chooses and points; fits a phone; shows the table without scripts", function()
    local browser = chromium()
    if not browser then
      pending("chromium is not installed")
      return
    end
    local results = records()
    results[2].folder = pelk.sweep.read(dir .. "/real")[1].folder
    local text = html.json(page(results))
    help.write(dir .. "/probe.html", (probe:gsub("%%s", function() return text end)))
    local dom, log = browse(browser, dir .. "/probe.html")
    local said = dom:match('<pre id="said">(.-)</pre>')
    assert.truthy(said, "the browser said: " .. dom:sub(1, 300) .. log:sub(1, 2000))
    said = assert(json.decode((said:gsub("&%a+;", entities))))
    assert.is_nil(said.broken)
    for line in log:gmatch("[^\n]*CONSOLE[^\n]*") do -- the frame without scripts says that it runs none
      assert.truthy(line:find("Blocked script execution", 1, true), line)
    end
    assert.is_true(said.narrow)
    local desk = said.desk
    assert.same({}, desk.errors)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9 }, desk.first)
    assert.same({ "ascending", { 6, 5, 4, 3, 2, 1, 7, 8, 9 } }, desk.value_up)
    assert.same({ "descending", { 7, 1, 2, 3, 4, 5, 6, 8, 9 } }, desk.value_down)
    assert.same({ "ascending", { 1, 2, 3, 4, 5, 6, 7, 8, 9 } }, desk.again)
    assert.equal("[7,7,7]", column(page(results), "table", 3)[desk.kernels_up[2][1]])
    assert.equal("[51,25,13]", column(page(results), "table", 3)[desk.kernels_up[2][9]])
    assert.is_true(desk.buttons)
    assert.same({ 4, 6 }, desk.found)
    assert.equal("2 of 9 trials", desk.said)
    assert.same({ 9, 9 }, { desk.all, desk.after })
    assert.same({ 5, 6 }, { desk.low[#desk.low - 1], desk.low[#desk.low] }) -- the lowest fifth of the values' axis
    assert.equal(1, #desk.lit)
    assert.truthy(desk.lit_places >= 5) -- table, axes, three charts of costs, curves
    assert.truthy(desk.tip:find("^#" .. desk.lit[1]))
    assert.is_true(desk.pictures)
    assert.same({ rows = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, fits = true, buttons = 0 }, said.still)
  end)

  it("is printed", function()
    local browser = chromium()
    if not browser then
      pending("chromium is not installed")
      return
    end
    page(records())
    os.execute(("env -u LD_PRELOAD %s --headless --no-sandbox --disable-gpu --no-first-run "
      .. "--user-data-dir='%s/profile' --print-to-pdf='%s/page.pdf' 'file://%s/page.html' 2>/dev/null"):format(browser,
      dir, dir, dir))
    assert.equal("%PDF-", help.read(dir .. "/page.pdf"):sub(1, 5))
    assert.truthy(core.file_stat(dir .. "/page.pdf") > 10000)
  end)
end)
