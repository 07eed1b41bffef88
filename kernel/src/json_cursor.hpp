// A position in the text of a JSON document, which takes the tokens that a reader expects.
#pragma once

#include <cstddef>
#include <cstring>

namespace mlrf {

struct JsonCursor {
    const char* at;
    const char* end;

    void skip_space() {
        while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
    }
    bool takes(char c) {
        skip_space();
        if (at == end || *at != c) return false;
        ++at;
        return true;
    }
    bool takes(const char* text, std::size_t length) {
        skip_space();
        if (static_cast<std::size_t>(end - at) < length || std::memcmp(at, text, length) != 0) return false;
        at += length;
        return true;
    }
    template <std::size_t kSize>
    bool takes(const char (&text)[kSize]) {
        return takes(text, kSize - 1);
    }
    bool is_at_end() {
        skip_space();
        return at == end;
    }
};

}  // namespace mlrf
