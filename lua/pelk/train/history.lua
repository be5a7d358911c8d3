--- What a run gives: rows of its epochs, and why it ended.
local History = {}
History.__index = History

local columns = {
  { "epoch", "epoch", "%d" }, { "train loss", "train_loss", "%.4f" }, { "train top-1", "train_top1", "%.2f %%" },
  { "eval loss", "eval_loss", "%.4f" }, { "eval top-1", "eval_top1", "%.2f %%" },
  { "ema top-1", "ema_top1", "%.2f %%" }, { "images/s", "images_per_s", "%.0f" },
}

--- The columns that some row has.
local function used(rows)
  local out = {}
  for _, column in ipairs(columns) do
    for _, row in ipairs(rows) do
      if row[column[2]] then
        out[#out + 1] = column
        break
      end
    end
  end
  return out
end

--- A history prints as a table of its epochs.
function History:__tostring()
  local shown, lines, header = used(self), {}, {}
  for i, column in ipairs(shown) do header[i] = column[1] end
  lines[1] = table.concat(header, "  ")
  for _, row in ipairs(self) do
    local cells = {}
    for i, column in ipairs(shown) do
      local value = row[column[2]]
      cells[i] = ("%" .. #column[1] .. "s"):format(value and column[3]:format(value) or "-")
    end
    lines[#lines + 1] = table.concat(cells, "  ")
  end
  if self.interrupted then
    lines[#lines + 1] = ("stopped by %s%s"):format(self.interrupted,
      self.saving and self.saving.count > 0 and "; resume = true goes on" or "")
  elseif self.stopped then
    lines[#lines + 1] = "stopped: " .. self.stopped
  end
  return table.concat(lines, "\n")
end

function History.new() return setmetatable({}, History) end

return History
