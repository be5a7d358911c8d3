--- Pareto fronts.
-- @module pelk.sweep.report.front

--- The points that no other beats: none is at least as good in both coordinates and better in one. Equal points are
-- all in it.
-- @tab points {{x, y}, ...}, finite numbers
-- @string x_goal "min" or "max": which way x is better
-- @string y_goal the same of y
-- @treturn table indices of points, x going up, and y where x is equal
return function(points, x_goal, y_goal)
  local sx, sy = x_goal == "max" and -1 or 1, y_goal == "max" and -1 or 1
  local order = {}
  for i in ipairs(points) do order[i] = i end
  local function key(i) return sx * points[i][1], sy * points[i][2] end
  table.sort(order, function(a, b)
    local ax, ay = key(a)
    local bx, by = key(b)
    if ax ~= bx then return ax < bx end
    if ay ~= by then return ay < by end
    return a < b
  end)
  local front, least, at = {}, math.huge, nil
  for _, i in ipairs(order) do
    local x, y = key(i)
    if y < least then
      least, at = y, x
      front[#front + 1] = i
    elseif y == least and x == at then
      front[#front + 1] = i
    end
  end
  table.sort(front, function(a, b)
    local p, q = points[a], points[b]
    if p[1] ~= q[1] then return p[1] < q[1] end
    if p[2] ~= q[2] then return p[2] < q[2] end
    return a < b
  end)
  return front
end
