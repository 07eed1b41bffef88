// A file's bytes, mapped read-only and shared by every process that maps or inherits them.
#pragma once

#include <cstddef>
#include <string>

namespace mlrf {

class Mapping {
public:
    // Throws std::system_error when the file cannot be opened or mapped.
    explicit Mapping(const std::string& path);
    ~Mapping();
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    const unsigned char* bytes() const { return bytes_; }
    std::size_t size_bytes() const { return size_bytes_; }

private:
    const unsigned char* bytes_ = nullptr;
    std::size_t size_bytes_ = 0;
};

}  // namespace mlrf
