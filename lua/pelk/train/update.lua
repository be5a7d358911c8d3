--- One update of the weights: forward and backward of its batches, the checks that all numbers are finite, the step.
local core = require("pelk.core")
local finite = require("pelk.options").is_finite

local update = {}

local WORST = 10 -- updates in a row that may be given up

--- Nothing has been added since the last update.
local function fresh() return { batches = 0, seen = 0, loss = 0.0, hits = 0, labelled = 0 } end

--- Give up the batches since the last update, as if they had not been seen.
function update.drop(self)
  if self.pending.batches > 0 then self.guard:restore() end
  self.pending = fresh()
end

function update.begin(self)
  self.pending = fresh()
  self.guard = core.guard_new(self.o.model)
end

--- How many batches the update that begins here is made of: fewer at an epoch's end.
local function group_size(self) return math.min(self.o.accumulate, self.batches - self.at.batch) end

--- Give an update up: its batches count as seen, its gradients are gone; the policy says what the weights are.
-- @tparam[opt] Tensor x the batch to look for the cause with; without, the weights are only put back
-- @treturn string what happened, for the caller to say
function update.give_up(self, x, what)
  local at, o = self.at, self.o
  local bad, number = self.pending.batches + 1, self.pending.number
  if not x then self.guard:restore() end
  -- buffers and random numbers are back where the update began
  local where = x and self.guard:explain(x) or "in the epoch's last batches"
  local text = ("%s at epoch %d, batch %d; %s"):format(what, at.epoch, number, where)
  self.optimizer:zero_grad()
  self.pending = fresh()
  at.streak = (at.streak or 0) + 1
  if o.nonfinite == "stop" or at.streak > WORST then
    local tries = at.streak > 1 and (" (%d updates in a row)"):format(at.streak) or ""
    return nil, ("train: %s; the weights are those before this batch%s"):format(text, tries)
  end
  if o.nonfinite == "rollback" then text = text .. "; back to " .. self:rollback() end
  at.batch, at.batches_seen = number, at.batches_seen + bad
  at.skipped = at.skipped + bad
  return text
end

--- The gradients are complete: clip, step, and let the followers follow.
-- @treturn boolean true: done; false: they are not finite; nil: there are none
function update.finish(self)
  local o, at, p = self.o, self.at, self.pending
  if p.batches == 0 then return nil end
  local norm = o.clip_grad and core.clip_grad_norm(o.model, o.clip_grad) or core.grad_norm(o.model)
  if not finite(norm) then
    p.batches = p.batches - 1 -- the batch that give_up counts
    return false
  end
  self.optimizer:step()
  if self.sparse then self.sparse:step() end
  if self.ema then self.ema:step() end
  at.batch, at.batches_seen = p.number, at.batches_seen + p.batches
  at.seen, at.loss, at.hits = at.seen + p.seen, at.loss + p.loss, at.hits + p.hits
  at.labelled = at.labelled + p.labelled
  at.updates, at.norms, at.normed, at.streak = at.updates + 1, at.norms + norm, at.normed + 1, 0
  self.last = { loss = p.loss / p.seen, grad_norm = norm }
  self.pending = fresh()
  return true
end

--- The loss of a batch; one of the user's own may give anything.
local function loss_of(self, logits, y, x)
  local loss = self.loss(logits, y, x)
  if type(loss) ~= "userdata" or getmetatable(loss) ~= "pelk.Tensor" or loss:numel() ~= 1 then
    error(("train: the loss must be a tensor of one number, got %s"):format(tostring(loss)), 0)
  end
  return loss
end

--- Correct labels among a batch's; nil where there is nothing to count (labels of pixels, of no class).
local function hits_of(self, logits, y)
  if y:dtype() ~= "int32" then return nil end
  if type(self.o.loss) ~= "function" then return core.topk_hits(logits, y, 1) end
  local ok, hits = pcall(core.topk_hits, logits, y, 1)
  return ok and hits or nil
end

--- Forward and backward of a batch. What does not end soon after a signal is interrupted.
-- @treturn number the loss; its gradients are there when it is finite
-- @treturn Tensor logits
local function passes(self, x, y)
  local logits = self.o.model(x)
  local loss <close> = loss_of(self, logits, y, x)
  local value = loss:item()
  if finite(value) then
    local share <close> = self.group > 1 and loss * (1 / self.group) or loss
    share:backward()
  end
  return value, logits
end

--- One batch.
-- @int[opt] number which one of the epoch; a loader that leaves out broken files passes over batches without any
-- @treturn boolean an update is complete; nil: it was given up, or the run must end
-- @treturn string what to say of it, or the error with which the run ends
function update.batch(self, x, y, number)
  local p = self.pending
  p.number = number or self.at.batch + p.batches + 1
  if p.batches == 0 then
    self.guard:mark()
    self.optimizer.lr = self.schedule(self.at.updates)
    self.optimizer:zero_grad()
    self.group = group_size(self)
  end
  local done, value, result = core.interruptible(passes, self, x, y)
  if not done then -- as if the update had not begun; the run ends
    self.guard:restore()
    self.pending = fresh()
    return false
  end
  local logits <close> = result
  if not finite(value) then return nil, ("the loss is %s"):format(value) end
  local n = y:size(1)
  p.batches, p.seen, p.loss = p.batches + 1, p.seen + n, p.loss + value * n
  local hits = hits_of(self, logits, y)
  if hits then p.hits, p.labelled = p.hits + hits, p.labelled + n end
  if p.batches < self.group then return false end
  if update.finish(self) then return true end
  return nil, "the gradients are not finite"
end

return update
