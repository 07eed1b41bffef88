#define MLRF_LEVEL avx2
#define MLRF_VECTOR_BYTES 32
#include "level.inl"

namespace mlrf {

const Level& avx2_level() { return avx2::table("avx2"); }

}  // namespace mlrf
