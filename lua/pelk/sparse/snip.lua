--- The gradients that SNIP looks at (Lee et al. 2019, arXiv 1810.02340): the model in train mode, one batch or the
-- sum over several; afterwards the model is as it was.
local core = require("pelk.core")
local modes = require("pelk.modes")
local options = require("pelk.options")

local function is_pair(b)
  return type(b) == "table" and type(b[1]) == "userdata" and type(b[2]) == "userdata"
end

--- {x, y} or a list of such pairs to a list.
local function list_of(batch)
  if is_pair(batch) then return { batch } end
  for i, b in ipairs(type(batch) == "table" and batch or {}) do
    if not is_pair(b) then
      options.raise(("sparse: batch[%d] must be a pair {x, y} of tensors, got %s"):format(i, type(b)))
    end
  end
  if type(batch) ~= "table" or #batch == 0 then
    options.raise('sparse: init = "snip" needs batch = {x, y}, or a list of such pairs')
  end
  return batch
end

local function run(model, batches, loss_of)
  model:train()
  model:zero_grad()
  for i, b in ipairs(batches) do
    local logits <close> = model(b[1])
    local loss <close> = loss_of(logits, b[2])
    local value = loss:item()
    if not options.is_finite(value) then
      error(("sparse: SNIP: the loss of batch %d is %s"):format(i, value), 0)
    end
    loss:backward()
  end
end

--- snip(model, batch, loss, use): call use() while the gradients are there, and put everything back, whatever happens.
-- @return what use() returns
return function(model, batch, loss_of, use)
  local batches = list_of(batch)
  local restore, buffers, grads = modes.keep(model), {}, {}
  for _, b in ipairs(model:buffers()) do buffers[#buffers + 1] = { b.tensor, b.tensor:clone() } end
  for _, p in ipairs(model:parameters()) do
    if p.grad then grads[#grads + 1] = { p, p.grad:clone() } end
  end
  local results = table.pack(pcall(core.with_grad, function()
    run(model, batches, loss_of)
    return use()
  end))
  core.no_grad(function()
    for _, pair in ipairs(buffers) do pair[1]:copy_(pair[2]) end
    model:zero_grad()
    for _, pair in ipairs(grads) do pair[1].grad:copy_(pair[2]) end
  end)
  restore()
  if not results[1] then options.raise(results[2]) end
  return table.unpack(results, 2, results.n)
end
