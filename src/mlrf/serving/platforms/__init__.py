"""Bodies and responses of other platforms: KServe v1, MLflow, Amazon SageMaker and Vertex AI.

1. A body of a platform is rewritten as the body of `/predict/batch` that means the same; no value is decoded on the way. The
   same parser, rules, limits, cache and engine then answer it, so the bits are those of the native routes.
2. The answer is cut out of the native one and written in the platform's shape.
3. Bodies that name columns read categories by value. Unnamed arrays read numbers as codes and strings as names; where a number
   could be either, it is refused by name.
"""
