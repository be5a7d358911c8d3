--- What a running sweep shows: on a terminal a block that redraws itself, elsewhere a line now and then.
local core = require("pelk.core")
local progress = require("pelk.progress")
local space = require("pelk.sweep.space")
local Journal = require("pelk.sweep.journal")

local Live = {}
Live.__index = Live

local PLAIN_EVERY, REDRAW_EVERY = 15, 0.5

--- @tab o name, total, columns, goal, done (before this run), workers, quiet, block (redraw: false while trials print)
function Live.new(o)
  local now = core.clock()
  return setmetatable({ o = o, began = now, drawn = now, lines = 0, counts = { done = o.done or 0 }, finished = 0,
    columns = o.block and core.terminal() }, Live)
end

--- "kernels 51, lr 0.004": what sets a trial apart.
function Live:label(params)
  local parts = {}
  for i, name in ipairs(self.o.columns) do
    parts[i] = ("%s %s"):format(name:match("[^.]+$"), space.show_value(space.get(params, name)))
  end
  return #parts > 0 and table.concat(parts, ", ") or "the only trial"
end

function Live:headline(running)
  local counts, parts = self.counts, {}
  local over = 0
  for _, state in ipairs { "done", "failed", "stopped", "paused" } do
    if (counts[state] or 0) > 0 then
      over = over + counts[state]
      if state ~= "done" then parts[#parts + 1] = ("%d %s"):format(counts[state], state) end
    end
  end
  local text = ("%s: %d of %d done"):format(self.o.name, counts.done, self.o.total)
  if #parts > 0 then text = text .. ", " .. table.concat(parts, ", ") end
  if running > 0 then text = ("%s, %d running"):format(text, running) end
  if self.best then text = ("%s; best %.4g (%s)"):format(text, self.best, self:label(self.best_params)) end
  local elapsed = core.clock() - self.began
  local left = self.o.total - over
  if self.finished > 0 and left > 0 then
    text = ("%s; ETA %s"):format(text, progress.duration(elapsed / self.finished * left))
  end
  return text
end

--- Lines for the running trials: how far each is.
local function trial_line(self, entry)
  local curve = Journal.curve(entry.trial.folder .. "/progress.jsonl")
  local last = curve[#curve]
  return ("  %s  %s  %s"):format(self:label(entry.trial.params), last and ("epoch %d: %.4g"):format(last.epoch,
    last.value) or "begins", progress.duration(core.clock() - entry.began))
end

local function clip(line, columns)
  local stop = utf8.offset(line, columns)
  return stop and line:sub(1, stop - 1) or line
end

--- Take away the block.
function Live:erase()
  if self.lines > 0 then io.stderr:write(("\27[%dA\27[J"):format(self.lines)) end
  self.lines = 0
end

--- Show how things are, when it is time.
-- @tab running id -> {trial, began}
function Live:tick(running, count)
  if self.o.quiet then return end
  local now = core.clock()
  if now - self.drawn < (self.columns and REDRAW_EVERY or PLAIN_EVERY) then return end
  self.drawn = now
  if not self.columns then
    if count > 0 then io.stderr:write(self:headline(count), "\n") end
    return
  end
  self:erase()
  local lines = { clip(self:headline(count), self.columns) }
  for _, entry in pairs(running) do lines[#lines + 1] = clip(trial_line(self, entry), self.columns) end
  table.sort(lines, function(a, b) return a:sub(1, 1) ~= " " and b:sub(1, 1) == " " or a < b and b:sub(1, 1) == " " end)
  io.stderr:write(table.concat(lines, "\n"), "\n")
  self.lines = #lines
end

--- Count what was over before this run, or is over now.
function Live:count(state, value, params)
  self.counts[state] = (self.counts[state] or 0) + 1
  if not value or state ~= "done" then return end
  local better = not self.best or (self.o.goal == "min" and value < self.best) or
    (self.o.goal == "max" and value > self.best)
  if better then self.best, self.best_params = value, params end
end

--- A paused trial goes on.
function Live:resumed() self.counts.paused = self.counts.paused - 1 end

--- A trial is over: one line that stays.
function Live:ended(trial, outcome)
  self.finished = self.finished + 1
  self:count(outcome.state, outcome.value, trial.params)
  if self.o.quiet then return end
  self:erase()
  local what = outcome.value and ("%.4g"):format(outcome.value) or ""
  if outcome.error then what = tostring(outcome.error):match("[^\n]*") end
  io.stderr:write(("%-8s %s  %s  %s\n"):format(outcome.state, self:label(trial.params), what,
    progress.duration(outcome.seconds or 0)))
end

function Live:close(running)
  if self.o.quiet then return end
  self:erase()
  io.stderr:write(self:headline(running or 0), "\n")
end

return Live
