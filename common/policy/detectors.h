// The names of the content detectors (sidecar/mask/detect.h has what they do).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace postern::policy {

enum class Detector : uint8_t { kEmail, kCard, kIban, kPhone, kNationalId, kJwt, kApiKey };
inline constexpr int kDetectorCount = 7;

inline constexpr std::string_view kDetectorNames[kDetectorCount] = {"email",       "card", "iban",   "phone",
                                                                    "national_id", "jwt",  "api_key"};

constexpr std::string_view DetectorName(Detector detector) { return kDetectorNames[static_cast<size_t>(detector)]; }

class DetectorSet {
 public:
  constexpr DetectorSet() = default;
  constexpr void Add(Detector detector) { bits_ |= 1u << static_cast<unsigned>(detector); }
  constexpr void AddAll(DetectorSet other) { bits_ |= other.bits_; }
  constexpr bool Contains(Detector detector) const { return (bits_ >> static_cast<unsigned>(detector) & 1u) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  uint32_t bits_ = 0;
};

constexpr std::optional<Detector> DetectorFromName(std::string_view name) {
  for (int i = 0; i < kDetectorCount; ++i) {
    if (kDetectorNames[i] == name) return static_cast<Detector>(i);
  }
  return std::nullopt;
}

}  // namespace postern::policy
