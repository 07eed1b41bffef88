"""Bodies and responses of other platforms: KServe v1, MLflow, Amazon SageMaker and Vertex AI.

1. A body of a platform is rewritten as the equivalent body of `/predict/batch`, without decoding any value. The same parser,
   rules, limits, cache and engine then answer it, so the answer has the same bits as that of the native route.
2. The members of the native answer are rewritten in the platform's shape.
3. In bodies that name columns, categories are given by value. In unnamed arrays, numbers are codes and strings are names; a
   number that could be either is refused with the feature's name.
"""
