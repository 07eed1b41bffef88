#include "mapping.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace mlrf {
namespace {

[[noreturn]] void fail(const char* action, const std::string& path, int error) {
    throw std::system_error(error, std::generic_category(), std::string("cannot ") + action + " " + path);
}

}  // namespace

Mapping::Mapping(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) fail("open", path, errno);
    struct stat status;
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        ::close(file);
        fail("read", path, EINVAL);
    }
    size_bytes_ = static_cast<std::size_t>(status.st_size);
    if (size_bytes_ > 0) {
        void* start = ::mmap(nullptr, size_bytes_, PROT_READ, MAP_SHARED, file, 0);
        const int error = errno;
        ::close(file);
        if (start == MAP_FAILED) fail("map", path, error);
        bytes_ = static_cast<const unsigned char*>(start);
    } else {
        ::close(file);
    }
}

Mapping::~Mapping() {
    if (bytes_ != nullptr) ::munmap(const_cast<unsigned char*>(bytes_), size_bytes_);
}

}  // namespace mlrf
