--- A run's folder: config.json, summary.csv (timm's columns), log.jsonl, last and best weights as safetensors, and
-- checkpoints from which the run goes on. Everything is written beside and renamed: a kill leaves the old or the new.
local core = require("pelk.core")
local json = require("pelk.json")
local options = require("pelk.options")
local show = require("pelk.show")
local Checkpoints = require("pelk.train.checkpoints")

local Run = {}
Run.__index = Run

local columns = { "epoch", "train_loss", "train_top1", "eval_loss", "eval_top1", "eval_top5", "ema_loss", "ema_top1",
  "ema_top5", "lr", "grad_norm", "skipped", "wait_share", "seconds", "images_per_s" }

--- The text of an object without what changes from process to process and from step to step.
local function text_of(value)
  if type(value) == "table" and type(value.step) == "function" then return "masks of pelk.sparse" end
  local text = tostring(value):gsub(", %d+ workers", ""):gsub(", %d+ steps", "")
  return text:find("^%a+: 0x") and "a " .. type(value) or text
end

--- What config.json can say of a value: plain ones as they are, the others by their text.
local function plain(value)
  local t = type(value)
  if t == "table" and show.is_plain(value) then
    local out = {}
    for k, v in pairs(value) do out[k] = plain(v) end
    return out
  end
  if t == "number" and not options.is_finite(value) then return tostring(value) end
  if t == "string" or t == "number" or t == "boolean" then return value end
  return text_of(value)
end

--- Open a folder for a run.
-- @string dir made when missing
-- @int keep how many checkpoints are kept
-- @treturn Run or nil, message
function Run.open(dir, keep)
  local ok, message = core.make_dir(dir)
  if not ok then return nil, message end
  return setmetatable({ dir = dir, checkpoints = Checkpoints.new(dir, keep) }, Run)
end

function Run:path(name) return self.dir .. "/" .. name end

--- Raise what files came to: a run that cannot save must not go on as if it could.
local function must(ok, message)
  if not ok then error("train: " .. message, 0) end
  return ok
end

function Run:write(name, text) must(core.write_file(self:path(name), text)) end

function Run:write_config(config) self:write("config.json", json.encode(plain(config)) .. "\n") end

--- What does not change what is learned.
local beside = { pelk = true, out = true, progress = true, tensorboard = true, keep = true, save_minutes = true,
  save_steps = true, budget_minutes = true }

--- Leaves of a tree of plain values by their paths.
local function leaves(value, path, out)
  if type(value) ~= "table" then
    out[path] = tostring(value)
  else
    for key, inner in pairs(value) do
      if path ~= "" or not beside[key] then leaves(inner, (path == "" and "" or path .. ".") .. tostring(key), out) end
    end
  end
  return out
end

--- What a configuration has otherwise than config.json: a sorted list of texts like "epochs was 4, is 8".
function Run:changes(config)
  local before = json.read(self:path("config.json"))
  if type(before) ~= "table" then return {} end
  local was, is, out = leaves(before, "", {}), leaves(json.decode(json.encode(plain(config))), "", {}), {}
  for path, value in pairs(is) do
    if was[path] ~= value then out[#out + 1] = ("%s was %s, is %s"):format(path, was[path] or "not given", value) end
  end
  for path, value in pairs(was) do
    if not is[path] then out[#out + 1] = ("%s was %s, is not given"):format(path, value) end
  end
  table.sort(out)
  return out
end

--- All rows anew: the file is small, and never half a line.
function Run:write_summary(rows)
  local lines = { table.concat(columns, ",") }
  for _, row in ipairs(rows) do
    local cells = {}
    for i, name in ipairs(columns) do
      local v = row[name]
      cells[i] = v == nil and "" or math.type(v) == "integer" and tostring(v) or ("%.6g"):format(v)
    end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  self:write("summary.csv", table.concat(lines, "\n") .. "\n")
end

--- One line more; a torn last line of a killed run is ended first.
function Run:log(entry)
  local file, message = io.open(self:path("log.jsonl"), "a+b")
  if not file then error("train: " .. message, 0) end
  local size = file:seek("end")
  if size > 0 then
    file:seek("set", size - 1)
    if file:read(1) ~= "\n" then file:write("\n") end
  end
  must(file:write(json.encode(plain(entry)), "\n"))
  must(file:close())
end

function Run:save_weights(name, model, metadata)
  must(core.module_save(model, self:path(name), metadata))
end

--- Take out of the log what happened after the state from which a run goes on.
-- @int epoch the one it goes on with
function Run:rewind_log(epoch)
  local file = io.open(self:path("log.jsonl"), "rb")
  if not file then return end
  local kept = {}
  for line in file:lines() do
    local entry = json.decode(line)
    if type(entry) == "table" and entry.epoch and entry.epoch < epoch then kept[#kept + 1] = line .. "\n" end
  end
  file:close()
  self:write("log.jsonl", table.concat(kept))
end

--- Everything a run needs to go on, as a list of {name, tensor}; counters get what goes beside them.
local function collect(parts, counters)
  local tensors = {}
  for name, t in pairs(core.module_state(parts.model)) do tensors[#tensors + 1] = { "model." .. name, t } end
  local moments, steps = parts.optimizer:state()
  for name, t in pairs(moments) do tensors[#tensors + 1] = { "optim." .. name, t } end
  counters.steps = steps
  if parts.ema then
    local values, ema_steps = parts.ema:state()
    tensors[#tensors + 1] = { "ema", values }
    counters.ema_steps = ema_steps
  end
  if parts.sparse then
    local masks, about = parts.sparse:state()
    for name, t in pairs(masks) do tensors[#tensors + 1] = { "sparse." .. name, t } end
    counters.sparse = about
  end
  if parts.sampling then
    local drawn, about = parts.sampling:state()
    for name, t in pairs(drawn) do tensors[#tensors + 1] = { "sampling." .. name, t } end
    counters.sampling = about
  end
  table.sort(tensors, function(a, b) return a[1] < b[1] end)
  counters.random = { core.random_state() }
  return tensors
end

--- Write a checkpoint.
-- @tab parts model, optimizer; ema, sparse, sampling (something with state() and load_state())
-- @tab counters plain values; counters.batches_seen numbers it
function Run:save_state(parts, counters)
  local tensors = collect(parts, counters)
  must(self.checkpoints:save(counters.batches_seen, tensors, counters))
end

function Run:has_state() return #self.checkpoints:list() > 0 end

local function named(tensors, prefix)
  local out = {}
  for name, t in pairs(tensors) do
    if name:sub(1, #prefix) == prefix then out[name:sub(#prefix + 1)] = t end
  end
  return out
end

local function put(parts, tensors, counters)
  core.module_set_state(parts.model, named(tensors, "model."), { strict = true })
  parts.optimizer:load_state(named(tensors, "optim."), counters.steps)
  if (parts.ema ~= nil) ~= (tensors.ema ~= nil) then
    error(parts.ema and "the run had no averages (ema)" or "the run had averages of weights: ema is wanted", 0)
  end
  if parts.ema then parts.ema:load_state(tensors.ema, counters.ema_steps) end
  if (parts.sparse ~= nil) ~= (counters.sparse ~= nil) then
    error(parts.sparse and "the run had no masks (sparse)" or "the run had masks: sparse is wanted", 0)
  end
  if parts.sparse then parts.sparse:load_state(named(tensors, "sparse."), counters.sparse) end
  if (parts.sampling ~= nil) ~= (counters.sampling ~= nil) then
    error(parts.sampling and "the run had no sampling" or "the run had sampling: it is wanted", 0)
  end
  if parts.sampling then parts.sampling:load_state(named(tensors, "sampling."), counters.sampling) end
  core.set_random_state(counters.random[1], counters.random[2])
end

--- Put the newest valid state into model, optimiser and what else there is.
-- @treturn table the counters
-- @treturn string the file
-- @treturn table messages about newer files that are damaged
function Run:load_state(parts)
  local tensors, counters, path, damaged = self.checkpoints:load()
  if not tensors then error("train: cannot resume: " .. counters, 0) end
  local ok, message = pcall(put, parts, tensors, counters)
  if not ok then error(("train: cannot resume from %s: %s"):format(path, message), 0) end
  return counters, path, damaged
end

return Run
