// A server as small as one can be in C++: one thread over epoll, HTTP and JSON read by hand without any check, trees compiled by
// tl2cgen (linked as a library). It is what a second codebase for speed alone would look like.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>

union Entry {
    int missing;
    double fvalue;
};
extern "C" void predict(union Entry *data, int pred_margin, double *result);

constexpr int WIDTH = 27;

// Reads numbers up to `]`, scores them, and returns where reading stopped.
static const char *score_row(const char *at, const char *end, double *out) {
    Entry row[WIDTH];
    for (int i = 0; i < WIDTH && at < end; i++) {
        while (*at == ' ' || *at == ',' || *at == '[') at++;
        if (*at == 'n') {
            row[i].missing = -1;
            at += 4;
            continue;
        }
        double value = 0;
        at = std::from_chars(at, end, value).ptr;
        row[i].fvalue = value;
    }
    *out = 0;  // what the trees add to
    predict(row, 0, out);
    return at;
}

static void append_number(std::string &text, double value) {
    char digits[32];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

static std::string answer(bool is_batch, const char *body, const char *end) {
    std::string json = is_batch ? "{\"predictions\":[" : "{\"prediction\":";
    const char *at = body;
    bool first = true;
    double found = 0;
    while ((at = static_cast<const char *>(memmem(at, end - at, "\"features\":", 11)))) {
        at = score_row(at + 11, end, &found);
        if (!first) json += ',';
        first = false;
        append_number(json, found);
    }
    json += is_batch ? "],\"model\":\"sales\",\"version\":\"1\"}" : ",\"model\":\"sales\",\"version\":\"1\",\"cached\":false}";
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) + "\r\n\r\n" + json;
}

int main(int, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) || listen(listener, 1024)) return 1;
    int poll = epoll_create1(0);
    epoll_event event{EPOLLIN, {.fd = listener}}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    std::unordered_map<int, std::string> received;
    static char buffer[1 << 18];
    for (;;) {
        int n = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                int client = accept(listener, nullptr, nullptr);
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                event = {EPOLLIN, {.fd = client}};
                epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
                received[client].clear();
                continue;
            }
            ssize_t size = read(fd, buffer, sizeof buffer);
            if (size <= 0) {
                received.erase(fd);
                close(fd);
                continue;
            }
            std::string &request = received[fd];
            request.append(buffer, size);
            size_t head = request.find("\r\n\r\n");
            if (head == std::string::npos) continue;
            size_t length = request.find("ength: ");
            size_t body = length < head ? strtoul(request.c_str() + length + 7, nullptr, 10) : 0;
            if (request.size() < head + 4 + body) continue;
            const char *start = request.data() + head + 4;
            std::string whole = answer(!request.compare(0, 19, "POST /predict/batch"), start, start + body);
            for (size_t sent = 0; sent < whole.size();) {
                ssize_t written = write(fd, whole.data() + sent, whole.size() - sent);
                if (written <= 0) break;
                sent += written;
            }
            request.clear();
        }
    }
}
