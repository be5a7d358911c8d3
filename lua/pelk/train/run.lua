--- A run's folder: config.json, summary.csv (timm's columns), log.jsonl, last and best weights as safetensors, and the
-- state from which the run goes on. Everything is written beside and renamed, so a kill leaves the old or the new.
local core = require("pelk.core")
local json = require("pelk.json")
local show = require("pelk.show")

local Run = {}
Run.__index = Run

local columns = { "epoch", "train_loss", "train_top1", "eval_loss", "eval_top1", "eval_top5", "lr", "seconds",
  "images_per_s" }

--- What config.json can say of a value: plain ones as they are, the others by their text.
local function plain(value)
  local t = type(value)
  if t == "table" and show.is_plain(value) then
    local out = {}
    for k, v in pairs(value) do out[k] = plain(v) end
    return out
  end
  if t == "number" and (value ~= value or math.abs(value) == math.huge) then return tostring(value) end
  if t == "string" or t == "number" or t == "boolean" then return value end
  return tostring(value)
end

--- Open a folder for a run.
-- @string dir made when missing
-- @treturn Run or nil, message
function Run.open(dir)
  local ok, message = core.make_dir(dir)
  if not ok then return nil, message end
  return setmetatable({ dir = dir }, Run)
end

function Run:path(name) return self.dir .. "/" .. name end

--- Raise what files came to: a run that cannot save must not go on as if it could.
local function must(ok, message)
  if not ok then error("train: " .. message, 0) end
  return ok
end

function Run:write(name, text) must(core.write_file(self:path(name), text)) end

function Run:write_config(config) self:write("config.json", json.encode(plain(config)) .. "\n") end

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

--- Everything a resumed run needs in one file: parameters, buffers, the optimiser's moments, counters.
function Run:save_state(model, optimizer, counters)
  local tensors = {}
  for name, t in pairs(core.module_state(model)) do tensors[#tensors + 1] = { "model." .. name, t } end
  local moments, steps = optimizer:state()
  local names = {}
  for name in pairs(moments) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do tensors[#tensors + 1] = { "optim." .. name, moments[name] } end
  counters.steps = steps
  counters.random = { core.random_state() }
  must(core.save_tensors(self:path("state.safetensors"), tensors,
    { format = "pelk.state 1", counters = json.encode(counters) }))
end

function Run:has_state()
  local file = io.open(self:path("state.safetensors"), "rb")
  if file then file:close() end
  return file ~= nil
end

--- Put the saved state into model and optimiser.
-- @treturn table the counters
function Run:load_state(model, optimizer)
  local path = self:path("state.safetensors")
  local tensors, metadata = core.load_tensors(path)
  if not tensors then error("train: cannot resume: " .. metadata, 0) end
  if not metadata or metadata.format ~= "pelk.state 1" or not metadata.counters then
    error(("train: cannot resume: %s is no state of a run"):format(path), 0)
  end
  local counters = json.decode(metadata.counters)
  local weights, moments = {}, {}
  for name, t in pairs(tensors) do
    if name:find("^model%.") then weights[name:sub(7)] = t end
    if name:find("^optim%.") then moments[name:sub(7)] = t end
  end
  local ok, message = pcall(core.module_set_state, model, weights, { strict = true })
  if not ok then error(("train: cannot resume from %s: %s"):format(path, message), 0) end
  optimizer:load_state(moments, counters.steps)
  core.set_random_state(counters.random[1], counters.random[2])
  return counters
end

return Run
