"""The build of a bundle from a trained model, offline: read the model, export it, verify it, write it.

Knows the training libraries' files; a server never imports this layer. (`mlrf.build` is the function of
`mlrf.builder.build`; the package has another name so that the two do not shadow each other.)
"""
