"""The picture of a pool that `map` draws: a model made of the plugin's answers, and three ways to draw it."""
