--- What a sweep's records come to before anything is drawn: ranks, names, labels, curves.
-- @module pelk.sweep.report.gather
local csv = require("pelk.csv")
local numbers = require("pelk.sweep.report.numbers")
local space = require("pelk.sweep.space")

local gather = {}

local finite = numbers.finite

gather.labels = { top1 = "top-1, %", top5 = "top-5, %", loss = "loss", train_loss = "training loss",
  train_top1 = "training top-1, %", params = "parameters", macs = "multiply-adds", images_per_second = "images/s",
  eval_top1 = "top-1, %", eval_loss = "loss", ema_top1 = "top-1 of averages, %", ema_loss = "loss of averages" }

local metric_order = { "top1", "top5", "loss", "train_loss", "params", "macs", "images_per_second" }

-- ---- parameters ----

--- The last part of a dotted name where no other column ends alike, else all of it.
local function column_labels(names)
  local ends, out = {}, {}
  for _, name in ipairs(names) do
    local last = name:match("[^.]+$") or name
    ends[last] = (ends[last] or 0) + 1
  end
  for i, name in ipairs(names) do
    local last = name:match("[^.]+$") or name
    out[i] = ends[last] == 1 and last or name
  end
  return out
end

local function columns_of(results)
  local names, columns = results.columns or {}, {}
  local labels = column_labels(names)
  for i, name in ipairs(names) do
    local column = { name = name, label = labels[i], numeric = true, index = i }
    for _, r in ipairs(results) do
      local v = space.get(r.params or {}, name)
      if v ~= nil and not finite(v) then column.numeric = false end
    end
    columns[i] = column
  end
  return columns
end

--- "kernels [31,15,7], lr 0.004": what tells a trial from the others.
local function name_of(columns, params)
  local parts = {}
  for i, column in ipairs(columns) do
    if params[i] ~= nil then parts[#parts + 1] = column.label .. " " .. numbers.value(params[i]) end
  end
  return table.concat(parts, ", ")
end

-- ---- metrics ----

--- Is the metric the same as the value wherever there are both?
local function repeats_value(rows, name)
  local both = 0
  for _, row in ipairs(rows) do
    local v = row.metrics[name]
    if v ~= nil and row.value ~= nil then
      if v ~= row.value then return false end
      both = both + 1
    end
  end
  return both > 0
end

local counted = { params = true, macs = true }

--- How the numbers of a column are written.
local function format_of(rows, name)
  if counted[name] then return numbers.count end
  local values = {}
  for _, row in ipairs(rows) do values[#values + 1] = row.metrics[name] end
  return numbers.column(values)
end

--- Metrics that some row has, the usual ones first, without those that say the value again.
local function metrics_of(rows)
  local seen, names, rest = {}, {}, {}
  for _, row in ipairs(rows) do for name in pairs(row.metrics) do seen[name] = true end end
  for _, name in ipairs(metric_order) do
    if seen[name] then names[#names + 1] = name end
    seen[name] = nil
  end
  for name in pairs(seen) do rest[#rest + 1] = name end
  table.sort(rest)
  table.move(rest, 1, #rest, #names + 1, names)
  local metrics = {}
  for _, name in ipairs(names) do
    if not repeats_value(rows, name) then
      metrics[#metrics + 1] = { name = name, label = gather.labels[name] or name, format = format_of(rows, name) }
    end
  end
  return metrics
end

-- ---- curves ----

local plain_names = { ema_top1 = "top1", eval_top1 = "top1", ema_loss = "loss", eval_loss = "loss" }

--- A row of summary.csv under the names of metrics; averages of weights before plain ones, as a sweep reads them.
local function curve_row(row, i, metric)
  local out = { epoch = row.epoch or i }
  for name, v in pairs(row) do if not plain_names[name] then out[name] = v end end
  out.top1 = row.ema_top1 or row.eval_top1 or row.top1
  out.loss = row.ema_loss or row.eval_loss or row.loss
  out.value = row.value or row[metric] or out[metric] or out.top1 or row.train_top1
  return out
end

--- The epochs of a trial: its own reports, or summary.csv of its folder or of its run.
local function curve_of(record, metric)
  local rows = record.curve
  if (not rows or #rows == 0) and record.folder then
    rows = csv.read(record.folder .. "/run/summary.csv") or csv.read(record.folder .. "/summary.csv")
  end
  local curve = {}
  for i, row in ipairs(rows or {}) do
    if type(row) == "table" then curve[#curve + 1] = curve_row(row, i, metric) end
  end
  return curve
end

-- ---- rows ----

local state_order = { done = 1, running = 2, paused = 3, stopped = 4, waiting = 5, failed = 6 }

--- What is done comes first, the best before the others; then what has a value, then by state.
local function better(goal)
  return function(a, b)
    local da, db = a.state == "done" and a.value ~= nil, b.state == "done" and b.value ~= nil
    if da ~= db then return da end
    if (a.value ~= nil) ~= (b.value ~= nil) then return a.value ~= nil end
    if a.value and a.value ~= b.value then
      if goal == "min" then return a.value < b.value end
      return a.value > b.value
    end
    local sa, sb = state_order[a.state] or 9, state_order[b.state] or 9
    if sa ~= sb then return sa < sb end
    return a.order < b.order
  end
end

local function row_of(record, order, columns, metric)
  local params, metrics = {}, {}
  for i, column in ipairs(columns) do params[i] = space.get(record.params or {}, column.name) end
  for name, v in pairs(record.metrics or {}) do if finite(v) then metrics[name] = v end end
  return { order = order, id = tostring(record.id or order), state = record.state or "waiting", params = params,
    all = record.params or {}, value = finite(record.value) and record.value or nil, metrics = metrics,
    error = record.error and tostring(record.error) or nil, folder = record.folder, command = record.command,
    seconds = finite(record.seconds) and record.seconds or nil, name = name_of(columns, params),
    curve = curve_of(record, metric) }
end

--- Where a value stands between the worst and the best, 0 to 1; the worst tenth is one, so that a run that diverged
-- does not make all others alike.
local function shade(rows, goal)
  local values = {}
  for _, row in ipairs(rows) do if row.value then values[#values + 1] = row.value end end
  table.sort(values, function(a, b)
    if goal == "min" then return a < b end
    return a > b
  end)
  if #values == 0 then return end
  local best, worst = values[1], values[math.max(1, math.ceil(#values * 0.9))]
  for _, row in ipairs(rows) do
    if row.value then
      local t = best == worst and 1 or (row.value - worst) / (best - worst)
      row.shade = math.max(0, math.min(1, t))
    end
  end
end

local function total(rows)
  local counts, seconds = {}, 0
  for _, row in ipairs(rows) do
    counts[row.state] = (counts[row.state] or 0) + 1
    seconds = seconds + (row.seconds or 0)
  end
  return counts, seconds
end

--- All that the page shows, the best trial first.
-- @tab results as sweep.read gives them
-- @treturn table rows {rank, id, state, value, params (in the order of columns), metrics, name, shade, curve, error,
--   seconds, folder, command}, columns {name, label, numeric, index}, metrics {name, label, format}, metric,
--   metric_label, format (of the value), goal, counts by state, seconds
function gather.all(results)
  local metric, goal = results.metric or "value", results.goal == "min" and "min" or "max"
  local columns, rows = columns_of(results), {}
  for i, record in ipairs(results) do rows[i] = row_of(record, i, columns, metric) end
  table.sort(rows, better(goal))
  for i, row in ipairs(rows) do row.rank = i end
  shade(rows, goal)
  local values = {}
  for _, row in ipairs(rows) do values[#values + 1] = row.value end
  local counts, seconds = total(rows)
  return { rows = rows, columns = columns, metrics = metrics_of(rows), metric = metric, goal = goal,
    format = numbers.column(values), counts = counts, metric_label = gather.labels[metric] or metric,
    seconds = seconds, dir = results.dir, machine = results.machine, title = results.name or results.dir or "sweep" }
end

return gather
