--- The rows of a summary as a tree for printing, equal neighbours folded into one line.
local outline = {}

local sums = { "params", "macs_run", "seconds" }

--- Rows in tree order -> nodes {row, name, children}; the first is the root.
local function tree_of(rows)
  local open = {}
  for _, row in ipairs(rows) do
    local node = { row = row, name = row.path == "" and "(model)" or row.path:match("[^.]+$"), children = {} }
    open[row.depth] = node
    local parent = open[row.depth - 1]
    if parent then table.insert(parent.children, node) end
  end
  return open[0]
end

--- What two nodes must share to stand in one line: kind, shape and costs of themselves and all below, names below.
local function signature(node)
  if node.signature then return node.signature end
  local row = node.row
  local parts = { row.class, #node.children == 0 and row.text or "", table.concat(row.shape or {}, ","), row.params,
    row.macs_run }
  for _, child in ipairs(node.children) do parts[#parts + 1] = child.name .. signature(child) end
  node.signature = "(" .. table.concat(parts, "|") .. ")"
  return node.signature
end

--- The parts of comma-separated texts that all of them share, in order.
local function shared_text(nodes)
  local text = nodes[1].row.text
  for i = 2, #nodes do
    if nodes[i].row.text ~= text then
      local has, kept = {}, {}
      for part in (nodes[i].row.text .. ", "):gmatch("(.-), ") do has[part] = true end
      for part in (text .. ", "):gmatch("(.-), ") do kept[#kept + 1] = has[part] and part or nil end
      text = table.concat(kept, ", ")
    end
  end
  return text
end

local function range(nodes)
  return #nodes > 1 and nodes[1].name .. "-" .. nodes[#nodes].name or nodes[1].name
end

--- Children of all nodes (which are alike), place by place: runs of equal ones, {name, nodes}.
local function groups_below(nodes)
  local first, groups, at = nodes[1].children, {}, 1
  while at <= #first do
    local run, known = { first[at] }, signature(first[at])
    while first[at + #run] and signature(first[at + #run]) == known do run[#run + 1] = first[at + #run] end
    local group = { name = range(run), nodes = {} }
    for _, node in ipairs(nodes) do table.move(node.children, at, at + #run - 1, #group.nodes + 1, group.nodes) end
    groups[#groups + 1] = group
    at = at + #run
  end
  return groups
end

--- One line for nodes that are alike. A Sequential of one line only lends it its name: "blocks.0-2".
local function line_of(name, nodes, level)
  local row, groups = nodes[1].row, groups_below(nodes)
  if row.class == "Sequential" and #groups == 1 and level > 0 then
    return line_of(name .. "." .. groups[1].name, groups[1].nodes, level)
  end
  local line = { name = name, class = row.class, text = shared_text(nodes), shape = row.shape, copies = #nodes,
    level = level, children = {} }
  for _, key in ipairs(sums) do
    line[key] = 0
    for _, node in ipairs(nodes) do line[key] = line[key] + (node.row[key] or 0) end
  end
  for i, group in ipairs(groups) do line.children[i] = line_of(group.name, group.nodes, level + 1) end
  return line
end

--- Fold rows {path, class, text, depth, shape, params, macs_run, seconds?} in tree order: the root line {name, class,
-- text, shape, copies, level, params, macs_run, seconds, children}.
function outline.fold(rows)
  local root = tree_of(rows)
  return line_of(root.name, { root }, 0)
end

return outline
