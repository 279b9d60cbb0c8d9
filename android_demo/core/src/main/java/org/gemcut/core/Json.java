package org.gemcut.core;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.TypeAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Strict JSON by Gson. Numbers keep the text that they have in the source. */
final class Json {
    private static final TypeAdapter<JsonElement> ELEMENTS = new Gson().getAdapter(JsonElement.class);

    private Json() {}

    /** Text of UTF-8 bytes; damaged bytes are an error rather than replaced. */
    static String text(byte[] data, String name) throws BundleException {
        try {
            return StandardCharsets.UTF_8.newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)
                    .decode(ByteBuffer.wrap(data))
                    .toString();
        } catch (CharacterCodingException error) {
            throw BundleException.damaged(name + " is not UTF-8 text", error);
        }
    }

    /** One JSON value, and nothing after it. JsonParser itself is lenient (comments, bare words), so it isn't used. */
    static JsonElement parse(String text, String name) throws BundleException {
        JsonReader reader = new JsonReader(new StringReader(text));
        try {
            JsonElement found = ELEMENTS.read(reader);
            if (reader.peek() != JsonToken.END_DOCUMENT) {
                throw BundleException.damaged(name + " is not JSON: something follows its end");
            }
            return found;
        } catch (IOException error) {
            throw BundleException.damaged(name + " is not JSON: " + BundleException.words(error), error);
        } catch (JsonParseException error) {
            throw BundleException.damaged(name + " is not JSON: " + BundleException.words(error), error);
        } catch (IllegalStateException error) {
            throw BundleException.damaged(name + " is not JSON: " + BundleException.words(error), error);
        }
    }

    static JsonObject object(JsonElement value, String where) throws BundleException {
        if (value == null || !value.isJsonObject()) {
            throw BundleException.damaged(where + " should be an object");
        }
        return value.getAsJsonObject();
    }

    static JsonArray array(JsonElement value, String where) throws BundleException {
        if (value == null || !value.isJsonArray()) {
            throw BundleException.damaged(where + " should be a list");
        }
        return value.getAsJsonArray();
    }

    static boolean isString(JsonElement value) {
        return value != null && value.isJsonPrimitive() && value.getAsJsonPrimitive().isString();
    }

    static boolean isNumber(JsonElement value) {
        return value != null && value.isJsonPrimitive() && value.getAsJsonPrimitive().isNumber();
    }

    static boolean isBoolean(JsonElement value) {
        return value != null && value.isJsonPrimitive() && value.getAsJsonPrimitive().isBoolean();
    }

    static boolean isNull(JsonElement value) {
        return value == null || value.isJsonNull();
    }

    static String string(JsonObject object, String key, String where) throws BundleException {
        JsonElement value = object.get(key);
        if (!isString(value)) {
            throw BundleException.damaged(where + ": " + key + " should be text");
        }
        return value.getAsString();
    }

    /** The text, or null where it is null or absent. */
    static String stringOrNull(JsonObject object, String key, String where) throws BundleException {
        return isNull(object.get(key)) ? null : string(object, key, where);
    }

    static long whole(JsonElement value, String where) throws BundleException {
        if (isNumber(value)) {
            try {
                return Long.parseLong(value.getAsString());
            } catch (NumberFormatException error) {
                throw BundleException.damaged(where + " should be a whole number", error);
            }
        }
        throw BundleException.damaged(where + " should be a whole number");
    }

    static int integer(JsonObject object, String key, String where) throws BundleException {
        long value = whole(object.get(key), where + ": " + key);
        if (value < Integer.MIN_VALUE || value > Integer.MAX_VALUE) {
            throw BundleException.damaged(where + ": " + key + " is too large a number");
        }
        return (int) value;
    }

    static boolean bool(JsonObject object, String key, String where) throws BundleException {
        if (!isBoolean(object.get(key))) {
            throw BundleException.damaged(where + ": " + key + " should be true or false");
        }
        return object.get(key).getAsBoolean();
    }

    static List<String> strings(JsonElement value, String where) throws BundleException {
        List<String> found = new ArrayList<String>();
        for (JsonElement item : array(value, where)) {
            if (!isString(item)) {
                throw BundleException.damaged(where + " should hold text alone");
            }
            found.add(item.getAsString());
        }
        return found;
    }

    static int[] integers(JsonElement value, String where) throws BundleException {
        JsonArray list = array(value, where);
        int[] found = new int[list.size()];
        for (int i = 0; i < found.length; i++) {
            long one = whole(list.get(i), where);
            if (one < Integer.MIN_VALUE || one > Integer.MAX_VALUE) {
                throw BundleException.damaged(where + " holds too large a number");
            }
            found[i] = (int) one;
        }
        return found;
    }
}
