--- How good a model is on a loader.
local core = require("pelk.core")
local options = require("pelk.options")
local progress = require("pelk.progress")

local rules = { progress = { "boolean", true }, label = { "string", "evaluate" }, stop = { "function" } }

local Result = {}
function Result.__tostring(r)
  return ("top-1 %.2f %%, top-5 %.2f %%, loss %.4f on %d images"):format(r.top1, r.top5, r.loss, r.n)
end

--- Evaluate a classifier, in eval mode and without gradients; the model's mode comes back as it was.
-- @tparam Module model images {N,H,W,C} to logits {N,K}
-- @param loader a loader: batches of x, y with labels 1..K
-- @tab[opt] given progress=true
-- @treturn table {top1, top5 (per cent), loss (mean cross-entropy), n}; prints as a line. nil when stopped.
local function evaluate(model, loader, given)
  local o = options.read("evaluate", given, rules)
  options.check_module("evaluate", model)
  if type(loader) ~= "table" or type(loader.epoch) ~= "function" then
    error("evaluate: the second argument must be a loader (pelk.data.loader)", 2)
  end
  local was_training = model.training
  local bar = progress.new(o.label, loader:size(), { quiet = not o.progress })
  local loss, top1, top5, n = 0.0, 0, 0, 0
  local stopped = false
  model:eval()
  local ok, message = pcall(core.no_grad, function()
    for x, y in loader:epoch(0) do
      if o.stop and o.stop() then
        stopped = true
        return
      end
      local logits <close> = model(x)
      local batch = y:size(1)
      loss = loss + core.ops.cross_entropy(logits, y):item() * batch
      top1 = top1 + core.topk_hits(logits, y, 1)
      top5 = top5 + core.topk_hits(logits, y, 5)
      n = n + batch
      bar:advance(batch, ("top-1 %.2f %%"):format(100 * top1 / n))
    end
  end)
  model:train(was_training)
  if not ok then error(message, 0) end
  if stopped then return nil end
  bar:finish()
  if n == 0 then error("evaluate: the loader gave no batch", 2) end
  return setmetatable({ top1 = 100 * top1 / n, top5 = 100 * top5 / n, loss = loss / n, n = n }, Result)
end

return evaluate
