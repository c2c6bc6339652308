#include "sidecar/wire/build.h"

#include <charconv>

namespace postern::wire {
namespace {

void Put16(uint16_t value, std::string* out) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value & 0xff));
}

void Put32(uint32_t value, std::string* out) {
  Put16(static_cast<uint16_t>(value >> 16), out);
  Put16(static_cast<uint16_t>(value & 0xffff), out);
}

void PutString(std::string_view text, std::string* out) {
  // A NUL inside would end the field early for the reader.
  out->append(text.substr(0, text.find('\0')));
  out->push_back('\0');
}

// Writes the type (none for start-up packets) and fills in the length when it goes out of scope.
class Frame {
 public:
  Frame(char type, std::string* out) : out_(out) {
    if (type != '\0') out->push_back(type);
    at_ = out->size();
    out->append(4, '\0');
  }
  ~Frame() {
    const auto length = static_cast<uint32_t>(out_->size() - at_);
    for (int i = 0; i < 4; ++i) (*out_)[at_ + static_cast<size_t>(i)] = static_cast<char>(length >> (24 - 8 * i));
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

 private:
  std::string* out_;
  size_t at_;
};

void PutField(char code, std::string_view text, std::string* out) {
  if (text.empty()) return;
  out->push_back(code);
  PutString(text, out);
}

void AppendErrorFields(char type, const ErrorFields& fields, std::string* out) {
  Frame frame(type, out);
  PutField('S', fields.severity, out);
  PutField('V', fields.severity, out);
  PutField('C', fields.sqlstate, out);
  PutField('M', fields.message.empty() ? "unspecified" : std::string_view(fields.message), out);
  PutField('D', fields.detail, out);
  PutField('H', fields.hint, out);
  if (fields.position > 0) PutField('P', std::to_string(fields.position), out);
  out->push_back('\0');
}

}  // namespace

void AppendError(const ErrorFields& fields, std::string* out) { AppendErrorFields('E', fields, out); }
void AppendNotice(const ErrorFields& fields, std::string* out) { AppendErrorFields('N', fields, out); }

void AppendAuthenticationOk(std::string* out) {
  Frame frame('R', out);
  Put32(0, out);
}

void AppendAuthenticationCleartext(std::string* out) {
  Frame frame('R', out);
  Put32(3, out);
}

void AppendAuthenticationSasl(const std::vector<std::string_view>& mechanisms, std::string* out) {
  Frame frame('R', out);
  Put32(10, out);
  for (const std::string_view mechanism : mechanisms) PutString(mechanism, out);
  out->push_back('\0');
}

void AppendAuthenticationSaslContinue(std::string_view data, std::string* out) {
  Frame frame('R', out);
  Put32(11, out);
  out->append(data);
}

void AppendParameterStatus(std::string_view name, std::string_view value, std::string* out) {
  Frame frame('S', out);
  PutString(name, out);
  PutString(value, out);
}

void AppendBackendKeyData(uint32_t process_id, std::string_view secret_key, std::string* out) {
  Frame frame('K', out);
  Put32(process_id, out);
  out->append(secret_key);
}

void AppendReady(char status, std::string* out) {
  Frame frame('Z', out);
  out->push_back(status);
}

void AppendNegotiateProtocolVersion(uint16_t minor, const std::vector<std::string>& unknown, std::string* out) {
  Frame frame('v', out);
  Put32(3u << 16 | minor, out);
  Put32(static_cast<uint32_t>(unknown.size()), out);
  for (const std::string& name : unknown) PutString(name, out);
}

void AppendSslRequest(std::string* out) {
  Frame frame('\0', out);
  Put32(1234u << 16 | 5679, out);
}

void AppendStartup(const std::vector<std::pair<std::string, std::string>>& parameters, std::string* out) {
  Frame frame('\0', out);
  Put32(3u << 16, out);
  for (const auto& [name, value] : parameters) {
    PutString(name, out);
    PutString(value, out);
  }
  out->push_back('\0');
}

void AppendCancelRequest(uint32_t process_id, std::string_view secret_key, std::string* out) {
  Frame frame('\0', out);
  Put32(1234u << 16 | 5678, out);
  Put32(process_id, out);
  out->append(secret_key);
}

void AppendPassword(std::string_view password, std::string* out) {
  Frame frame('p', out);
  PutString(password, out);
}

void AppendSaslInitial(std::string_view mechanism, std::string_view data, std::string* out) {
  Frame frame('p', out);
  PutString(mechanism, out);
  Put32(static_cast<uint32_t>(data.size()), out);
  out->append(data);
}

void AppendSaslResponse(std::string_view data, std::string* out) {
  Frame frame('p', out);
  out->append(data);
}

std::string WithPosition(std::string_view body, const std::function<int(int)>& moved) {
  for (size_t at = 0; at < body.size() && body[at] != '\0';) {
    const size_t end = body.find('\0', at);
    if (end == std::string_view::npos) break;
    if (body[at] == 'P') {
      const std::string_view digits = body.substr(at + 1, end - at - 1);
      int position = 0;
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), position);
      if (error != std::errc() || stop != digits.data() + digits.size()) break;
      return std::string(body.substr(0, at + 1)).append(std::to_string(moved(position))).append(body.substr(end));
    }
    at = end + 1;
  }
  return std::string(body);
}

void AppendQuery(std::string_view text, std::string* out) {
  Frame frame('Q', out);
  PutString(text, out);
}

void AppendParse(std::string_view statement, std::string_view text, const std::vector<uint32_t>& parameter_types,
                 std::string* out) {
  Frame frame('P', out);
  PutString(statement, out);
  PutString(text, out);
  Put16(static_cast<uint16_t>(parameter_types.size()), out);
  for (const uint32_t type : parameter_types) Put32(type, out);
}

void AppendDescribePortal(std::string_view portal, std::string* out) {
  Frame frame('D', out);
  out->push_back('P');
  PutString(portal, out);
}

void AppendExecute(std::string_view portal, int32_t max_rows, std::string* out) {
  Frame frame('E', out);
  PutString(portal, out);
  Put32(static_cast<uint32_t>(max_rows), out);
}

void AppendSync(std::string* out) { Frame frame('S', out); }
void AppendFlush(std::string* out) { Frame frame('H', out); }

void AppendCopyFail(std::string_view reason, std::string* out) {
  Frame frame('f', out);
  PutString(reason, out);
}

void AppendTerminate(std::string* out) { Frame frame('X', out); }

}  // namespace postern::wire
