--- The masks of a run: attached at its beginning, reported in its log, kept as a compact file.
local options = require("pelk.options")
local sparse = require("pelk.sparse")

local masks = {}

--- The first n batches of the training loader, as pairs; images as they are, not mixed (SNIP looks at hard labels).
local function first_batches(loader, n)
  local out, mixup = {}, loader.mixup
  loader.mixup = nil
  local ok, message = pcall(function()
    for x, y in loader:epoch(1) do
      out[#out + 1] = { x, y }
      if #out == n then break end
    end
  end)
  loader.mixup = mixup
  if not ok then error(message, 0) end
  if #out < n then
    options.raise(("train: sparse: snip_batches is %d, an epoch has %d batches"):format(n, #out))
  end
  return out
end

--- Options of the run to options of sparse.attach.
local function options_of(o)
  local given = {}
  for key, value in pairs(o.sparse) do given[key] = value end
  local n = given.snip_batches or 1
  given.snip_batches = nil
  if math.type(n) ~= "integer" or n < 1 then
    options.raise(("train: sparse: snip_batches must be a whole number from 1, got %s"):format(tostring(n)))
  end
  local updates = (o.train:batches() + o.accumulate - 1) // o.accumulate
  given.total_steps = given.total_steps or o.epochs * updates
  local preset = sparse.presets[given.preset or ""]
  return given, (given.init or preset and preset.init) == "snip" and not given.batch and n or nil
end

--- The masks of a run, or nil without any: what sparse.attach gave, or what its options say.
-- @bool resumes the masks come from a checkpoint in a moment: nothing has to be found out about the model
function masks.begin(o, resumes)
  if not o.sparse or type(o.sparse.step) == "function" then return o.sparse end
  local given, batches = options_of(o)
  if resumes then
    sparse.detach(o.model) -- masks of the run's first part, where the model is the same object
    given.init, given.batch, given.checkpoint = "uniform", nil, nil
  elseif batches then
    given.batch = first_batches(o.train, batches)
  end
  return sparse.attach(o.model, given)
end

--- A row of the history with the masks' report, for log.jsonl.
function masks.log_entry(row, s)
  if not s then return row end
  local entry = { sparse = s:log() }
  for key, value in pairs(row) do entry[key] = value end
  return entry
end

--- The compact file beside the plain one.
function masks.save(s, run, about)
  local ok, message = s:save(run:path("last.sparse.safetensors"), about)
  if not ok then error("train: " .. message, 0) end
end

return masks
