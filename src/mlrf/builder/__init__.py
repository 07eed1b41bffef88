"""Builds a bundle from a trained model, offline: reads the model, exports it, verifies it, writes it.

It knows the training libraries' files; a server never imports this layer. (`mlrf.build` is the function of
`mlrf.builder.build`; the package has another name so that the two do not shadow each other.)
"""
