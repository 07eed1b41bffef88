// Counts numbers in JSON text that take long to convert.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

namespace mlrf {

// Returns how many numbers of a JSON text have an exponent of an absolute value of at least `least`. What looks like such a number
// inside a string counts too.
inline std::size_t count_exponents(std::string_view text, unsigned least) {
    const auto is_digit = [](char byte) { return byte >= '0' && byte <= '9'; };
    std::size_t found = 0;
    for (const char letter : {'e', 'E'}) {
        const char* const end = text.data() + text.size();
        const char* at = text.data();
        while ((at = static_cast<const char*>(std::memchr(at, letter, static_cast<std::size_t>(end - at)))) != nullptr) {
            const bool follows_number = at != text.data() && is_digit(at[-1]);
            ++at;
            if (!follows_number) continue;
            if (at != end && (*at == '+' || *at == '-')) ++at;
            unsigned exponent = 0;
            while (at != end && is_digit(*at) && exponent < least) exponent = 10 * exponent + static_cast<unsigned>(*at++ - '0');
            found += exponent >= least;
        }
    }
    return found;
}

}  // namespace mlrf
