// Counts the elements of each repeated field of a ModelInferRequest (protobuf) without parsing it: one pass over its bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlrf {

struct WireCounts {
    std::size_t inputs = 0, outputs = 0, parameters = 0, raw = 0, dimensions = 0, numbers = 0, texts = 0, fields = 0;
};

// Walks over a message. Bytes that are not protobuf end the walk; the parser then refuses them.
class WireCounter {
  public:
    // The walk ends with the first field beyond `most_fields`.
    WireCounter(WireCounts& counts, std::size_t most_fields) : counts_(counts), most_fields_(most_fields) {}

    void request(const unsigned char* at, const unsigned char* end) {
        each(at, end, [this](std::uint64_t field, unsigned type, const unsigned char* from, const unsigned char* to) {
            if (type != delimited) return;
            if (field == 4) ++counts_.parameters;
            if (field == 5) ++counts_.inputs, tensor(from, to, 3, 5);
            if (field == 6) ++counts_.outputs, tensor(from, to, 0, 0);
            if (field == 7) ++counts_.raw;
        });
    }

  private:
    static constexpr unsigned varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5;

    // An input or an output: its parameters (field 4 of an input, 2 of an output), dimensions and values.
    void tensor(const unsigned char* at, const unsigned char* end, std::uint64_t shape, std::uint64_t contents) {
        const std::uint64_t parameters = contents == 0 ? 2 : 4;
        each(at, end, [&](std::uint64_t field, unsigned type, const unsigned char* from, const unsigned char* to) {
            if (field == parameters && type == delimited) ++counts_.parameters;
            if (contents == 0) return;
            if (field == shape) counts_.dimensions += type == delimited ? varints(from, to) : 1;
            if (field == contents && type == delimited) values(from, to);
        });
    }

    void values(const unsigned char* at, const unsigned char* end) {
        each(at, end, [this](std::uint64_t field, unsigned type, const unsigned char* from, const unsigned char* to) {
            if (field == 8) ++counts_.texts;
            else if (type != delimited) ++counts_.numbers;
            else if (field == 6) counts_.numbers += static_cast<std::size_t>(to - from) / 4;
            else if (field == 7) counts_.numbers += static_cast<std::size_t>(to - from) / 8;
            else counts_.numbers += varints(from, to);
        });
    }

    static std::size_t varints(const unsigned char* at, const unsigned char* end) {
        std::size_t n = 0;
        for (; at != end; ++at) n += *at < 0x80;
        return n;
    }

    static bool read(const unsigned char*& at, const unsigned char* end, std::uint64_t& number) {
        number = 0;
        for (unsigned shift = 0; at != end && shift < 64; shift += 7) {
            const unsigned char byte = *at++;
            number |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80) return true;
        }
        return false;
    }

    template <typename Visit>
    void each(const unsigned char* at, const unsigned char* end, const Visit& visit) {
        std::uint64_t tag, size;
        while (at != end && counts_.fields <= most_fields_ && read(at, end, tag)) {
            ++counts_.fields;
            const auto type = static_cast<unsigned>(tag & 7);
            size = type == fixed64 ? 8 : type == fixed32 ? 4 : 0;
            if (type == varint) {
                if (!read(at, end, size)) return;
                size = 0;
            } else if (type == delimited) {
                if (!read(at, end, size)) return;
            } else if (type > fixed32) {
                return;
            }
            // Groups (3 and 4) have no length: their fields are counted as if they were outside the group, which counts no fewer.
            if (size > static_cast<std::uint64_t>(end - at)) return;
            visit(tag >> 3, type, at, at + size);
            at += size;
        }
    }

    WireCounts& counts_;
    std::size_t most_fields_;
};

}  // namespace mlrf
