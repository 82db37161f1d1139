"""Each room in a few lines: `test_door` runs them all, `test_packaging` some of them on the core alone."""

OWN_BITS = """
layer = wnn.fit(key, wnn.LayerConfig(neurons=32, address_bits=6), X, Y)
probabilities = wnn.predict(layer, X_new)
"""

CHAIN = """
corpus = wnn.data.text.load(wnn.data.TextConfig(text_file))
model = wnn.chain.fit(key, wnn.chain.ChainConfig(mode="online", memory_mib=16), corpus)
nats = wnn.chain.score(model, "tables read bits of memory").nats
text = wnn.chain.generate(key, model, "tables", 200)
"""

SEARCH = """
objective = wnn.search.TargetBits(wnn.search.Bounds(12, max_neurons=2, max_bits=3), clusters=2)
algorithm = wnn.search.tabu(objective, wnn.search.TabuConfig(sites=2, neighbours=8))
plan = wnn.search.RunConfig(steps=30, folds=3, check=5, patience=4, fit_budget=5000)
result = wnn.search.run(key, algorithm, wnn.examples(X, Y), plan, resume=folder, on_step=reports.append)
layer = wnn.fit(key, wnn.LayerConfig(), X, Y, connections=result.genome)
"""

RECOMMENDER = """
films = wnn.recommender.build_catalogue(key, wnn.recommender.synthetic.world(key))
person = wnn.recommender.learn(wnn.recommender.new(key, films), [1, 2, 3], [5, 1, 4])
best = wnn.recommender.recommend(person, top=8)
person = wnn.recommender.forget(person, [2])
"""

MEMORY = """
memory = wnn.eam.create(key, wnn.eam.MemoryConfig(nearest=1), keys, locations=200, width=5)
memory = wnn.eam.write(memory, keys, values)
read = wnn.eam.read(memory, keys)
"""

VOCABULARY_SPACE = """
corpus = wnn.data.text.load(wnn.data.TextConfig(text_file))
plan = wnn.vocab.TrainConfig(steps=10, tokens_per_step=64, window=16)
model = wnn.vocab.train(key, wnn.vocab.variant("v8_graph", corpus.vocabulary, hops=1), corpus, plan)
nats, best = wnn.vocab.score(model, corpus.test[:200])
hops = wnn.vocab.inspect(model, "tables read").top(3)
"""

COMPRESSION = """
packed = wnn.chain.compress(data)
again = wnn.chain.decompress(packed)
"""
