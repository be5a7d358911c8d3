-- Weights of classes in the cross-entropy: PyTorch's figures, and training on sets whose classes differ in size.
local pelk = require("pelk")
local help = require("spec.help")

local cross_entropy = pelk.ops.cross_entropy

describe("cross_entropy with class weights", function()
  local weight = pelk.tensor({ 0.5, 2, 1.25 })
  local labels = pelk.tensor({ 1, 3, 2, 2 }, { dtype = "int32" })
  local soft = pelk.tensor({ { 0.7, 0.2, 0.1 }, { 0, 0.5, 0.5 }, { 1, 0, 0 }, { 0.1, 0.1, 0.8 } })

  -- target, label_smoothing, loss, gradient: torch.nn.functional.cross_entropy of PyTorch 1.13.1 in double precision
  local cases = {
    { labels, 0, 1.152745604437725, { -0.06685009585894355, 0.054654932105370646, 0.01219516375357291,
      0.012250267798295238, 0.0036897097552209593, -0.015939977553516185, 0.07371880264942102, -0.2741072843071007,
      0.2003884816576797, 0.24535113485156215, -0.25756644857654987, 0.012215313724987732 } },
    { labels, 0.1, 1.1848835851343473, { -0.05803703052764018, 0.05125896902262552, 0.006778061505014646,
      0.009351717073657558, -0.007904493143329765, -0.0014472239303277728, 0.06805579682543006, -0.2536833336093526,
      0.18562753678392252, 0.2332519165699909, -0.2377627792186974, 0.00451086264870649 } },
    { soft, 0, 2.3698889944254806, { -0.03691977239515489, 0.03749131357757303, -0.0005715411824181458,
      0.022892687948064226, -0.24310485489493083, 0.22021216694686663, -0.09850730529786432, 0.02649269470213568,
      0.07201461059572864, 0.20793266021820037, 0.031092643857005976, -0.23902530407520634 } },
    { soft, 0.1, 2.34480562287225, { -0.030168715021613918, 0.036717131778516626, -0.006548416756902735,
      0.018197728482596078, -0.2349306402947914, 0.21673291181219534, -0.08620006775921064, 0.013799932240789363,
      0.07240013551842127, 0.20501599355153372, 0.019425977190339304, -0.22444197074187303 } },
  }

  it("is PyTorch's, with labels and soft targets, smoothed and not", function()
    for _, case in ipairs(cases) do
      local x = pelk.tensor({ { 1, 2, 0.5 }, { 0.2, -1, 3 }, { 0, 0, 1 }, { 2, 1, -1 } }):requires_grad_(true)
      local loss = cross_entropy(x, case[1], weight, { label_smoothing = case[2] })
      loss:backward()
      assert.near(case[3], loss:item(), 1e-6)
      for i, g in ipairs(x.grad:flat()) do assert.near(case[4][i], g, 1e-6) end
    end
  end)

  it("of 1 is the one without, and classes of weight 0 do not count", function()
    local x = pelk.randn({ 4, 3 })
    assert.near(cross_entropy(x, labels):item(), cross_entropy(x, labels, pelk.ones({ 3 })):item(), 1e-6)
    local third = cross_entropy(x:narrow(1, 2, 1), labels:narrow(1, 2, 1)):item()
    assert.near(third, cross_entropy(x, labels, pelk.tensor({ 0, 0, 7 })):item(), 1e-6)
  end)

  it("lets a class be impossible that does not count", function()
    local x, one = pelk.tensor({ { 0, -math.huge } }), pelk.tensor({ 1 }, { dtype = "int32" })
    assert.equal(0, cross_entropy(x, one, pelk.ones({ 2 })):item())
    assert.equal(math.huge, cross_entropy(x, one, pelk.ones({ 2 }), { label_smoothing = 0.1 }):item())
  end)

  it("says what does not fit", function()
    local x = pelk.randn({ 4, 3 })
    help.raises("weight.*a weight for each class", cross_entropy, x, labels, pelk.ones({ 4 }))
    help.raises("labels of this batch are 0", cross_entropy, x, labels, pelk.zeros({ 3 }))
  end)
end)

describe("train with class weights", function()
  -- Noise that says nothing of the class, one picture in eight of class 2: what is learned is the classes' shares.
  local function set()
    pelk.manual_seed(1)
    local labels = {}
    for i = 1, 64 do labels[i] = i % 8 == 0 and 2 or 1 end
    return pelk.data.tensors(pelk.zeros({ 64, 2, 2, 1 }), pelk.tensor(labels, { 64 }, { dtype = "int32" }))
  end

  local function bias(loss, transform)
    pelk.manual_seed(2)
    local m = pelk.nn.Sequential(pelk.nn.Flatten(), pelk.nn.Linear(4, 2))
    pelk.train { model = m, train = pelk.data.loader(set(), { batch = 64, mixup = transform }), epochs = 60,
      progress = false, optimizer = { name = "sgd", lr = 2, momentum = 0 }, loss = loss }
    local b = m:state_dict()["1.bias"]:flat()
    return b[1] - b[2]
  end

  it("makes them count alike, by a word, a tensor or a list", function()
    assert.near(math.log(7), bias(), 0.01) -- the odds in the data
    local balanced = bias({ weight = "balanced" })
    assert.near(0, balanced, 0.01)
    assert.are.equal(balanced, bias({ weight = set():class_weights() }))
    assert.near(math.log(3.5), bias({ weight = { 1, 2 } }), 0.01)
    local nothing = pelk.data.mixup { num_classes = 2, prob = 0, label_smoothing = 0 }
    assert.near(0, bias({ weight = "balanced" }, nothing), 0.01) -- soft targets too
  end)

  it("says what does not fit", function()
    help.raises('"balanced", got even', bias, { weight = "even" })
    help.raises("did you mean 'weight'", bias, { wieght = { 1, 2 } })
    help.raises("a weight for each class", bias, { weight = { 1, 2, 3 } })
  end)
end)
