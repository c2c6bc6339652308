#include "common/base/random.h"

#include <cstdlib>

#include <openssl/rand.h>

namespace postern {
namespace {

class SystemRandom final : public Random {
 public:
  void Fill(std::span<uint8_t> out) override {
    // A process that cannot make keys must not go on with predictable ones.
    if (RAND_bytes(out.data(), static_cast<int>(out.size())) != 1) std::abort();
  }
};

}  // namespace

std::string Random::Bytes(size_t n) {
  std::string bytes(n, '\0');
  Fill({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  return bytes;
}

Random& Random::System() {
  static SystemRandom* const kRandom = new SystemRandom();
  return *kRandom;
}

}  // namespace postern
