#define MLRF_LEVEL avx512
#define MLRF_VECTOR_BYTES 64
#include "level.inl"

namespace mlrf {

const Level& avx512_level() { return avx512::table("avx512"); }

}  // namespace mlrf
