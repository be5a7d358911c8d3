--- How good a model is on a loader.
local core = require("pelk.core")
local modes = require("pelk.modes")
local options = require("pelk.options")
local progress = require("pelk.progress")

local rules = { progress = { "boolean", true }, label = { "string", "evaluate" }, stop = { "function" },
  confusion = { "boolean", false }, crops = { "integer", 1, 1 }, crop_size = { "integer", nil, 1 },
  flip = { "boolean", false } }

-- ---- results ----

local Result = {}
function Result.__tostring(r)
  local line = ("top-1 %.2f %%, top-5 %.2f %%, loss %.4f on %d images"):format(r.top1, r.top5, r.loss, r.n)
  return r.confusion and line .. "\n" .. tostring(r.confusion) or line
end

local Confusion = {}

--- Rows are what the images are, columns what the model says.
function Confusion.__tostring(m)
  local width, lines = 5, {}
  for i, row in ipairs(m) do
    local name = m.classes and m.classes[i] or tostring(i)
    local cells = {}
    for j, n in ipairs(row) do cells[j] = ("%" .. width .. "d"):format(n) end
    lines[i] = ("%-16.16s %s"):format(name, table.concat(cells, " "))
  end
  return table.concat(lines, "\n")
end

-- ---- test-time crops and mirror images ----

--- Corners of the crops of a side: the centre, then the four corners.
local function corners(height, width, size)
  local bottom, right = height - size, width - size
  return { { bottom // 2, right // 2 }, { 0, 0 }, { 0, right }, { bottom, 0 }, { bottom, right } }
end

local function mirrored(x)
  local width, mirror = x:size(3), core.empty(x:shape())
  for i = 1, width do mirror:narrow(3, i, 1):copy_(x:narrow(3, width + 1 - i, 1)) end
  return mirror
end

--- What the model is shown of a batch.
local function views(o, x)
  local shown = { x }
  if o.crops == 5 then
    for i, at in ipairs(corners(x:size(2), x:size(3), o.crop_size)) do
      shown[i] = x:narrow(2, at[1] + 1, o.crop_size):narrow(3, at[2] + 1, o.crop_size):contiguous()
    end
  end
  for i = 1, o.flip and #shown or 0 do shown[#shown + 1] = mirrored(shown[i]) end
  return shown
end

--- Logits; those whose softmax is the mean over the views where there are several.
local function predict(o, model, x)
  local shown, sum = views(o, x), nil
  if #shown == 1 then return model(shown[1]) end
  for _, view in ipairs(shown) do
    local share = core.ops.softmax(model(view))
    sum = sum and sum + share or share
  end
  return (sum / #shown):log()
end

local function check_crops(o, x)
  if o.crops == 1 then return end
  local size = o.crop_size
  if size > x:size(2) or size > x:size(3) then
    error(("evaluate: crop_size is %d, the images are %d x %d"):format(size, x:size(2), x:size(3)), 0)
  end
end

-- ---- the loop ----

local function check(o, model, loader)
  options.check_module("evaluate", model)
  if type(loader) ~= "table" or type(loader.epoch) ~= "function" then
    options.raise("evaluate: the second argument must be a loader (pelk.data.loader)")
  end
  if o.crops ~= 1 and o.crops ~= 5 then options.raise(("evaluate: crops must be 1 or 5, got %d"):format(o.crops)) end
  if o.crops == 5 and not o.crop_size then options.raise("evaluate: crops = 5 needs crop_size, the model's size") end
end

local function add(sums, logits, y)
  local batch = y:size(1)
  sums.loss = sums.loss + core.ops.cross_entropy(logits, y):item() * batch
  sums.top1 = sums.top1 + core.topk_hits(logits, y, 1)
  sums.top5 = sums.top5 + core.topk_hits(logits, y, 5)
  sums.n = sums.n + batch
  if not sums.wanted then return end
  local classes = logits:size(2)
  sums.matrix = sums.matrix or core.zeros({ classes, classes }, { dtype = "int32" })
  core.confusion(logits, y, sums.matrix)
end

--- True when it was stopped.
local function walk(o, model, loader, sums, bar)
  for x, y in loader:epoch(0) do
    if o.stop and o.stop() then return true end
    check_crops(o, x)
    local logits <close> = predict(o, model, x)
    add(sums, logits, y)
    bar:advance(y:size(1), ("top-1 %.2f %%"):format(100 * sums.top1 / sums.n))
  end
  return false
end

--- Evaluate a classifier, in eval mode and without gradients; the modes of the model's parts and the random
-- numbers come back as they were.
-- @tparam Module model images {N,H,W,C} to logits {N,K}
-- @param loader a loader: batches of x, y with labels 1..K
-- @tab[opt] given progress=true; confusion=false (true: result.confusion, rows by label, columns by prediction);
--   crops=1 (5: the loader gives larger images, the centre and the four corners of crop_size are averaged);
--   flip=false (true: each of them and its mirror image are averaged)
-- @treturn table {top1, top5 (per cent), loss (mean cross-entropy), n}; prints as a line. nil when stopped.
local function evaluate(model, loader, given)
  local o = options.read("evaluate", given, rules)
  check(o, model, loader)
  local restore = modes.keep(model)
  local bar = progress.new(o.label, loader:size(), { quiet = not o.progress })
  local sums = { loss = 0.0, top1 = 0, top5 = 0, n = 0, wanted = o.confusion }
  local random = { core.random_state() }
  model:eval()
  local ok, done, stopped = pcall(core.no_grad, core.interruptible, walk, o, model, loader, sums, bar)
  restore()
  core.set_random_state(table.unpack(random)) -- what is trained does not depend on what was evaluated, or how far
  if not ok then error(done, 0) end
  if stopped or not done then return nil end
  bar:finish()
  local n = sums.n
  if n == 0 then options.raise("evaluate: the loader gave no batch") end
  local matrix = sums.matrix and sums.matrix:tolist()
  if matrix then matrix.classes = loader.classes end
  return setmetatable({ top1 = 100 * sums.top1 / n, top5 = 100 * sums.top5 / n, loss = sums.loss / n, n = n,
    confusion = matrix and setmetatable(matrix, Confusion) }, Result)
end

return evaluate
