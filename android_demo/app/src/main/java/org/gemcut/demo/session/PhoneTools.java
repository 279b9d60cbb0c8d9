package org.gemcut.demo.session;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.gemcut.core.BundleException;
import org.gemcut.core.Tool;
import org.gemcut.core.ToolCall;

/** The phone actions as tools: declared from tools.json beside this class, and read out of a model's calls. */
public final class PhoneTools {
    private static final String DECLARATIONS = "tools.json";
    private static final Pattern TIME = Pattern.compile("([01]?[0-9]|2[0-3]):([0-5][0-9])");

    /** One call, understood: a question for the person, and what is done if they agree. */
    public interface Action {
        /** What would be done, as a question. */
        String question();

        void perform(PhoneActions phone) throws PhoneActions.Failed;
    }

    private PhoneTools() {}

    /** The declarations of all actions. */
    public static List<Tool> declarations() throws BundleException {
        List<Tool> tools = new ArrayList<Tool>();
        try {
            InputStream in = PhoneTools.class.getResourceAsStream(DECLARATIONS);
            if (in == null) {
                throw new IOException("it isn't in the app");
            }
            InputStreamReader reader = new InputStreamReader(in, StandardCharsets.UTF_8);
            try {
                JsonArray all = JsonParser.parseReader(reader).getAsJsonArray();
                for (JsonElement each : all) {
                    tools.add(Tool.of(each));
                }
            } finally {
                reader.close();
            }
        } catch (IOException error) {
            throw new BundleException(BundleException.Kind.STORAGE,
                    DECLARATIONS + " can't be read: " + error.getMessage(), "install the app again", error);
        }
        return Collections.unmodifiableList(tools);
    }

    /**
     * Understands a call.
     *
     * @throws PhoneActions.Failed it names another tool, or its arguments aren't those of its declaration; the words
     *     are for the model, which may try again
     */
    public static Action read(ToolCall call) throws PhoneActions.Failed {
        if (call.name.equals("set_alarm")) {
            return alarm(text(call, "time"));
        }
        if (call.name.equals("send_message")) {
            return message(text(call, "contact"), text(call, "text"));
        }
        if (call.name.equals("set_flashlight")) {
            return torch(bool(call, "on"));
        }
        throw new PhoneActions.Failed("there is no tool " + call.name);
    }

    private static Action alarm(String time) throws PhoneActions.Failed {
        Matcher found = TIME.matcher(time.trim());
        if (!found.matches()) {
            throw new PhoneActions.Failed("time should be like 07:30, not " + time);
        }
        final int hour = Integer.parseInt(found.group(1));
        final int minute = Integer.parseInt(found.group(2));
        return new Action() {
            @Override
            public String question() {
                return String.format(Locale.ROOT, "Set an alarm for %02d:%02d?", hour, minute);
            }

            @Override
            public void perform(PhoneActions phone) throws PhoneActions.Failed {
                phone.setAlarm(hour, minute);
            }
        };
    }

    private static Action message(final String to, final String text) {
        return new Action() {
            @Override
            public String question() {
                return "Write a message to " + to + ": \u201c" + text + "\u201d?";
            }

            @Override
            public void perform(PhoneActions phone) throws PhoneActions.Failed {
                phone.draftMessage(to, text);
            }
        };
    }

    private static Action torch(final boolean on) {
        return new Action() {
            @Override
            public String question() {
                return on ? "Switch the torch on?" : "Switch the torch off?";
            }

            @Override
            public void perform(PhoneActions phone) throws PhoneActions.Failed {
                phone.setTorch(on);
            }
        };
    }

    private static String text(ToolCall call, String key) throws PhoneActions.Failed {
        JsonElement found = call.arguments.get(key);
        if (!(found instanceof JsonPrimitive) || !((JsonPrimitive) found).isString()) {
            throw new PhoneActions.Failed(call.name + " wants " + key + ", a text");
        }
        return found.getAsString();
    }

    private static boolean bool(ToolCall call, String key) throws PhoneActions.Failed {
        JsonElement found = call.arguments.get(key);
        if (!(found instanceof JsonPrimitive) || !((JsonPrimitive) found).isBoolean()) {
            throw new PhoneActions.Failed(call.name + " wants " + key + ", true or false");
        }
        return found.getAsBoolean();
    }

    /** What a tool gives back to the model, as the sample was trained on it. */
    static JsonObject status(String status) {
        JsonObject result = new JsonObject();
        result.addProperty("status", status);
        return result;
    }

    static JsonObject failed(String reason) {
        JsonObject result = status("error");
        result.addProperty("reason", reason);
        return result;
    }
}
