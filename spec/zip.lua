--- ZIP archives made by hand, right or wrong, for the specs of their readers.

local crcs = {}
for i = 0, 255 do
  local c = i
  for _ = 1, 8 do c = c & 1 == 1 and 0xedb88320 ~ (c >> 1) or c >> 1 end
  crcs[i] = c
end
local function crc32(bytes)
  local c = 0xffffffff
  for i = 1, #bytes do c = crcs[(c ~ bytes:byte(i)) & 255] ~ (c >> 8) end
  return c ~ 0xffffffff
end

-- An archive of members {name, data}, each changed by `edit` (fields of both headers) before it is made.
return function(members, edit)
  local out, central, at = {}, {}, 0
  for i, member in ipairs(members) do
    local m = {name = member[1], data = member[2], method = 0, flags = 0, crc = crc32(member[2]), size = #member[2],
      packed = #member[2], extra = "", at = at, local_name = nil, skip = ""}
    if edit then edit(m, i) end
    local name = m.local_name or m.name
    local head = string.pack("<c4I2I2I2I2I2I4I4I4I2I2", "PK\3\4", 20, m.flags, m.method, 0, 33, m.crc, m.packed, m.size,
      #name, #m.skip) .. name .. m.skip .. m.data
    central[i] = string.pack("<c4I2I2I2I2I2I2I4I4I4I2I2I2I2I2I4I4", "PK\1\2", 20, 20, m.flags, m.method, 0, 33, m.crc,
      m.central_packed or m.packed, m.central_size or m.size, #m.name, #m.extra, 0, 0, 0, 0, m.central_at or m.at)
      .. m.name .. m.extra
    out[i] = head
    at = at + #head
  end
  local directory = table.concat(central)
  return table.concat(out) .. directory
    .. string.pack("<c4I2I2I2I2I4I4I2", "PK\5\6", 0, 0, #members, #members, #directory, at, 0)
end
