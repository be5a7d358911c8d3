--- The report of a sweep: one HTML page that stands alone, for the desk, the phone and paper.
-- @module pelk.sweep.report
local core = require("pelk.core")
local options = require("pelk.options")
local gather = require("pelk.sweep.report.gather")
local Results = require("pelk.sweep.results")
local page = require("pelk.sweep.report.page")

local report = {}

report.rules = { path = { "string" }, title = { "string" }, kernels = { "integer", 3, 0 } }

--- Write the page of a sweep's results: sortable table, means over seeds, parallel coordinates, accuracy against
-- parameters, multiply-adds and speed with the Pareto front, learning curves, learned kernels.
-- @tab results what sweep.read gives, or a list of records like those
-- @string path of the page; written beside and renamed
-- @tab[opt] given title (the sweep's name); kernels=3: of how many of the best trials learned kernels are shown
-- @treturn string the path, or nil, message
function report.write(results, path, given)
  local o = options.read("sweep.report", given, report.rules)
  if type(results) ~= "table" then
    options.raise("sweep.report: wants the results of a sweep, got " .. type(results))
  end
  for i, record in ipairs(results) do
    if type(record) ~= "table" then options.raise(("sweep.report: record %d is no table"):format(i)) end
  end
  if type(path) ~= "string" or path == "" then options.raise("sweep.report: wants the path of the page") end
  local d = gather.all(results)
  d.title = o.title or d.title
  local ok, message = core.write_file(path, page(d, { kernels = o.kernels, time = os.time() }))
  if not ok then return nil, message end
  return path
end

--- Write the page of a sweep's folder, of a sweep that is over, stopped or running.
-- @string dir
-- @tab[opt] given path=dir/report.html; title; kernels=3: see report.write
-- @treturn string the path of the page, or nil, message
function report.folder(dir, given)
  local o = options.read("sweep.report", given, report.rules)
  local results, message = Results.read(dir)
  if not results then return nil, message end
  return report.write(results, o.path or dir .. "/report.html", o)
end

return report
