// Runs the launches of a case on the CPU: `host CASE RESULTS [SEED]`.
//
// A case (cuda/proof/case.py writes it) is a list of buffers, each with its bytes or, for results,
// without, and a list of launches whose arguments refer to them. Every buffer is an allocation of its
// own, rounded up to whole words as launch.h asks for, so AddressSanitizer sees what is read beyond.
#define HC_FIBER
#include "../kernels.cu"

#include <string>
#include <tuple>

namespace {

// Shared memory and results start as this, so that what nobody wrote does not look like zero.
constexpr char GARBAGE = '\xA5';

// A kernel as cuLaunchKernel sees one: pointers to its arguments.
template <class... P> std::function<void(void**)> kernel(void (*function)(P...)) {
    return [function](void** arguments) {
        auto call = [&]<size_t... I>(std::index_sequence<I...>) {
            std::tuple<P...> values{*static_cast<P*>(arguments[I])...};
            hc::body = [function, values] { std::apply(function, values); };
        };
        call(std::index_sequence_for<P...>{});
    };
}

std::function<void(void**)> find(const std::string& wanted) {
#define HC_KERNEL(name, ...) \
    if (wanted == #name) return kernel(name);
#include "../kernels.def"
#undef HC_KERNEL
    fprintf(stderr, "no kernel %s\n", wanted.c_str());
    exit(2);
}

struct Reader {
    FILE* file;
    void bytes(void* to, size_t count) {
        if (count && fread(to, 1, count, file) != count) {
            fprintf(stderr, "the case is cut short\n");
            exit(2);
        }
    }
    template <class T> T number() {
        T value;
        bytes(&value, sizeof value);
        return value;
    }
};

struct Buffer {
    char* bytes;
    uint64_t size;
    bool result;
};

void launch(Reader& in, const std::vector<Buffer>& buffers) {
    std::string name(in.number<uint32_t>(), ' ');
    in.bytes(name.data(), name.size());
    hc::grid_size = {in.number<uint32_t>()};
    hc::block_size = {in.number<uint32_t>()};
    uint32_t count = in.number<uint32_t>();
    std::vector<std::unique_ptr<uint64_t[]>> memory;
    std::vector<void*> arguments;
    for (uint32_t i = 0; i < count; ++i) {
        uint32_t size = in.number<uint32_t>();
        memory.emplace_back(new uint64_t[(size + 7) / 8]);
        char* argument = reinterpret_cast<char*>(memory.back().get());
        in.bytes(argument, size);
        for (uint32_t left = in.number<uint32_t>(); left; --left) {
            uint32_t offset = in.number<uint32_t>();
            void* address = buffers[in.number<uint32_t>()].bytes;
            memcpy(argument + offset, &address, sizeof address);
        }
        arguments.push_back(argument);
    }
    find(name)(arguments.data());
    for (unsigned x = 0; x < hc::grid_size.x; ++x) {
        hc::block_index = {x, 0, 0};
        hc::run_block();
    }
}

}  // namespace

int main(int count, char** words) {
    if (count < 3) return fprintf(stderr, "host CASE RESULTS [SEED]\n"), 2;
    if (count > 3) hc::seed = strtoull(words[3], nullptr, 10);
    Reader in{fopen(words[1], "rb")};
    FILE* out = fopen(words[2], "wb");
    if (!in.file || !out) return perror(words[1]), 2;
    std::vector<Buffer> buffers(in.number<uint32_t>());
    for (Buffer& buffer : buffers) {
        buffer.size = in.number<uint64_t>();
        buffer.result = in.number<uint8_t>();
        // Aligned to 16, as malloc's memory is.
        size_t room = (buffer.size + 3) / 4 * 4;
        buffer.bytes = static_cast<char*>(malloc(room));
        memset(buffer.bytes, GARBAGE, room);
        if (!buffer.result) in.bytes(buffer.bytes, buffer.size);
    }
    for (uint32_t left = in.number<uint32_t>(); left; --left) launch(in, buffers);
    for (Buffer& buffer : buffers) {
        if (buffer.result && fwrite(buffer.bytes, 1, buffer.size, out) != buffer.size) return 2;
        free(buffer.bytes);
    }
    fclose(in.file);
    return fclose(out) != 0;
}
