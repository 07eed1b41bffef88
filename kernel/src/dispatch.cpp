// Selects the instruction set for this processor. A new one takes level_NAME.cpp, its lines here, and kernel/CMakeLists.txt.
#include <cstring>
#include <stdexcept>
#include <string>

#include "level.hpp"

namespace mlrf {

const Level& baseline_level();
#if defined(MLRF_X86_LEVELS)
const Level& avx2_level();
const Level& avx512_level();
const Level& vbmi_level();
#endif

const Level& choose_level(const char* requested) {
    const Level* fastest = &baseline_level();
    const Level* chosen = nullptr;
    const auto offer = [&](const Level& level) {
        fastest = &level;
        if (requested != nullptr && std::strcmp(requested, level.name) == 0) chosen = &level;
    };
    offer(baseline_level());
#if defined(MLRF_X86_LEVELS)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
        offer(avx2_level());
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl")) {
            offer(avx512_level());
            if (__builtin_cpu_supports("avx512vbmi")) offer(vbmi_level());
        }
    }
#endif
    if (requested == nullptr || *requested == '\0') return *fastest;
    if (chosen == nullptr)
        throw std::invalid_argument("this processor has no kernel level named '" + std::string(requested) +
                                    "'; the fastest it has is '" + fastest->name + "'");
    return *chosen;
}

}  // namespace mlrf
