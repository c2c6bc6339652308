#include "controlplane/server/request_facts.h"

#include <memory>

#include "common/crypto/hash.h"
#include "google/protobuf/descriptor.h"

namespace postern::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string TextOf(const Message& message, const char* field_name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(field_name);
  if (field == nullptr || field->is_repeated()) return {};
  if (field->type() == FieldDescriptor::TYPE_STRING) return message.GetReflection()->GetString(message, field);
  if (field->type() == FieldDescriptor::TYPE_INT64) {
    return std::to_string(message.GetReflection()->GetInt64(message, field));
  }
  return {};
}

std::string OwnObjectOf(const Message& message) {
  for (const char* name : {"id", "name", "account_id", "group", "revision"}) {
    if (std::string text = TextOf(message, name); !text.empty()) return text;
  }
  return {};
}

}  // namespace

std::string RequestIdOf(const Message& request) { return TextOf(request, "request_id"); }

std::string ObjectOf(const Message& request) {
  if (std::string own = OwnObjectOf(request); !own.empty()) return own;
  const google::protobuf::Descriptor& descriptor = *request.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->is_repeated() || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const Message& held = request.GetReflection()->GetMessage(request, field);
    if (std::string text = OwnObjectOf(held); !text.empty()) return text;
  }
  return {};
}

std::string DigestOf(const Message& request) {
  std::unique_ptr<Message> copy(request.New());
  copy->CopyFrom(request);
  for (const char* name : {"password", "request_id"}) {
    const FieldDescriptor* field = copy->GetDescriptor()->FindFieldByName(name);
    if (field != nullptr) copy->GetReflection()->ClearField(copy.get(), field);
  }
  return crypto::Sha256(copy->SerializeAsString());
}

}  // namespace postern::server
