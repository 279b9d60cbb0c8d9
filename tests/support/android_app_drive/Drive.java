import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.FolderFiles;
import org.gemcut.core.Golden;
import org.gemcut.core.Goldens;
import org.gemcut.core.Message;
import org.gemcut.core.Progress;
import org.gemcut.core.Recorded;
import org.gemcut.core.Tool;
import org.gemcut.core.ToolCall;
import org.gemcut.core.VerdictFile;
import org.gemcut.demo.bundle.BundleStore;
import org.gemcut.demo.bundle.CheckedBundle;
import org.gemcut.demo.bundle.KeptBundle;
import org.gemcut.demo.engine.Engine;
import org.gemcut.demo.engine.Engines;
import org.gemcut.demo.engine.Generated;
import org.gemcut.demo.session.ChatSession;
import org.gemcut.demo.session.NativeLibrary;
import org.gemcut.demo.session.PhoneActions;
import org.gemcut.demo.session.PhoneTools;
import org.gemcut.demo.session.Prove;
import org.gemcut.demo.session.Words;

/**
 * The app without its screen, driven by a script: STORE SCRIPT RESULTS. The script is a JSON list of steps, each an
 * object with "do"; the results are a list of objects, with "error" where a step failed in words. A step that throws
 * anything else ends the process: the app would have crashed.
 */
public final class Drive {
    private final BundleStore store;
    private CheckedBundle bundle;
    private Engine engine;
    private ChatSession chat;

    private Drive(File root) throws BundleException {
        store = new BundleStore(root);
    }

    public static void main(String[] words) {
        int code = 0;
        try {
            Drive drive = new Drive(new File(words[0]));
            JsonArray results = new JsonArray();
            for (JsonElement step : JsonParser.parseReader(new FileReader(words[1])).getAsJsonArray()) {
                results.add(drive.attempt(step.getAsJsonObject()));
                Gson gson = new GsonBuilder().serializeSpecialFloatingPointValues().create();
                Files.write(Paths.get(words[2]), gson.toJson(results).getBytes(StandardCharsets.UTF_8));
            }
        } catch (Throwable thrown) {
            thrown.printStackTrace();
            code = 1;
        }
        System.err.flush();
        Runtime.getRuntime().halt(code);
    }

    private JsonObject attempt(JsonObject step) throws Exception {
        JsonObject result = new JsonObject();
        try {
            run(step, result);
        } catch (BundleException error) {
            result.addProperty("error", error.getMessage());
            result.addProperty("hint", error.hint());
            result.addProperty("kind", error.kind().name());
            result.addProperty("shown", Words.of(error));
        }
        result.addProperty("loaded", loaded());
        return result;
    }

    /** Whether the native library is in this process. */
    private static boolean loaded() throws Exception {
        BufferedReader maps = new BufferedReader(new FileReader("/proc/self/maps"));
        try {
            for (String line = maps.readLine(); line != null; line = maps.readLine()) {
                if (line.contains("libexecutorch")) {
                    return true;
                }
            }
            return false;
        } finally {
            maps.close();
        }
    }

    private static String text(JsonObject step, String key) {
        return step.has(key) ? step.get(key).getAsString() : "";
    }

    private void run(JsonObject step, JsonObject result) throws Exception {
        String verb = text(step, "do");
        if (verb.equals("add")) {
            result.addProperty("sha256", store.add(new FolderFiles(new File(text(step, "folder"))), counting(step, result)));
        } else if (verb.equals("add_zip")) {
            File file = new File(text(step, "zip"));
            String sha256 =
                    store.addZip(new FileInputStream(file), file.getName(), file.length(), counting(step, result));
            result.addProperty("sha256", sha256);
        } else if (verb.equals("list")) {
            JsonArray kept = new JsonArray();
            for (KeptBundle each : store.list()) {
                kept.add(each.sha256 + " " + each.model + " " + each.runtime + " " + each.bytes);
            }
            result.add("kept", kept);
        } else if (verb.equals("remove")) {
            store.remove(text(step, "sha256"));
        } else if (verb.equals("open")) {
            bundle = store.open(text(step, "sha256"), Progress.NONE);
            result.addProperty("about", Words.of(bundle.manifest()));
            engine = Engines.forBundle(bundle.manifest(), text(step, "version"));
            engine.open(bundle);
        } else if (verb.equals("goldens")) {
            result.add("goldens", goldens());
        } else if (verb.equals("generate")) {
            generate(step, result);
        } else if (verb.equals("chat")) {
            talk(step, result);
        } else if (verb.equals("prove")) {
            prove(step, result);
        } else {
            throw new IllegalArgumentException(verb);
        }
    }

    private static Progress counting(final JsonObject step, final JsonObject result) {
        result.addProperty("updates", 0);
        return new Progress() {
            @Override
            public boolean update(long done, long total, String what) {
                int count = result.get("updates").getAsInt() + 1;
                result.addProperty("updates", count);
                return !step.has("stop_after") || count < step.get("stop_after").getAsInt();
            }
        };
    }

    /** Every golden that ends where the model speaks: rendered by the app and generated by LlmModule. */
    private JsonArray goldens() throws Exception {
        JsonArray all = new JsonArray();
        Goldens goldens = Goldens.read(bundle.bundle());
        ChatSession session = session("yes", new JsonArray());
        for (int i = 0; i < goldens.goldens.size(); i++) {
            Golden golden = goldens.goldens.get(i);
            Recorded host = goldens.host.get(i);
            if (!golden.generation || golden.messages.size() == 0) {
                continue;
            }
            List<Message> messages = new ArrayList<Message>();
            for (JsonElement each : golden.messages) {
                messages.add(Message.of(each));
            }
            List<Tool> tools = new ArrayList<Tool>();
            for (JsonElement each : golden.tools) {
                tools.add(Tool.of(each));
            }
            String prompt = session.render(messages, tools, golden.thinking);
            Generated generated = engine.generate(prompt, stops(), silent());
            JsonObject one = new JsonObject();
            one.addProperty("id", golden.id);
            one.addProperty("rendered", prompt);
            one.addProperty("golden", golden.rendered);
            one.addProperty("text", generated.text);
            one.addProperty("recorded", host.greedyText);
            one.addProperty("prompt_tokens", generated.promptTokens);
            one.addProperty("golden_tokens", golden.promptLength);
            one.addProperty("tokens", generated.tokens);
            one.addProperty("recorded_tokens", host.greedyIds.length);
            one.addProperty("ending", generated.ending.name());
            one.addProperty("ended", host.ended);
            all.add(one);
        }
        return all;
    }

    private List<String> stops() throws BundleException {
        return org.gemcut.core.Prompt.read(bundle.bundle()).stopTexts();
    }

    private static Engine.Listener silent() {
        return new Engine.Listener() {
            @Override
            public boolean onText(String piece) {
                return true;
            }
        };
    }

    private void generate(JsonObject step, JsonObject result) throws Exception {
        final int most = step.has("pieces") ? step.get("pieces").getAsInt() : Integer.MAX_VALUE;
        final JsonArray pieces = new JsonArray();
        List<String> stops = new ArrayList<String>();
        for (JsonElement each : step.has("stops") ? step.get("stops").getAsJsonArray() : new JsonArray()) {
            stops.add(each.getAsString());
        }
        StringBuilder prompt = new StringBuilder();
        for (int i = 0; i < (step.has("times") ? step.get("times").getAsInt() : 1); i++) {
            prompt.append(text(step, "prompt"));
        }
        Generated generated = engine.generate(prompt.toString(), stops, new Engine.Listener() {
            @Override
            public boolean onText(String piece) {
                pieces.add(piece);
                return pieces.size() < most;
            }
        });
        result.add("pieces", pieces);
        tell(generated, result);
    }

    private static void tell(Generated generated, JsonObject result) {
        result.addProperty("text", generated.text);
        result.addProperty("ending", generated.ending.name());
        result.addProperty("tokens", generated.tokens);
        result.addProperty("prompt_tokens", generated.promptTokens);
        result.addProperty("speed", generated.tokensPerSecond);
        result.addProperty("shown", Words.of(generated, org.gemcut.demo.session.Memory.now()));
    }

    private ChatSession session(final String answer, final JsonArray events) throws BundleException {
        PhoneActions phone = new PhoneActions() {
            @Override
            public void setAlarm(int hour, int minute) {
                events.add("alarm " + hour + " " + minute);
            }

            @Override
            public void draftMessage(String to, String words) {
                events.add("draft " + to + ": " + words);
            }

            @Override
            public void setTorch(boolean on) throws PhoneActions.Failed {
                events.add("torch " + on);
                if (answer.equals("broken")) {
                    throw new PhoneActions.Failed("this phone has no torch");
                }
            }
        };
        ChatSession.Confirmation person = new ChatSession.Confirmation() {
            @Override
            public boolean agrees(ToolCall call, String question) {
                events.add("asked " + question);
                return !answer.equals("no");
            }
        };
        return new ChatSession(bundle, engine, PhoneTools.declarations(), phone, person);
    }

    private void talk(JsonObject step, final JsonObject result) throws Exception {
        final JsonArray events = new JsonArray();
        result.add("events", events);
        if (chat == null || !step.has("goes_on")) {
            chat = session(text(step, "answer"), events);
        }
        final ChatSession session = chat;
        final int stopAfter = step.has("stop_after") ? step.get("stop_after").getAsInt() : Integer.MAX_VALUE;
        final int[] heard = {0};
        final StringBuilder thought = new StringBuilder();
        session.think(step.has("think"));
        for (int i = 0; i < (step.has("times") ? step.get("times").getAsInt() : 1); i++) {
            session.send(text(step, "say"), new ChatSession.Listener() {
                @Override
                public void onText(String piece) {
                    if (++heard[0] == stopAfter) {
                        stopFromAnotherThread(session);
                    }
                }

                @Override
                public void onThought(String piece) {
                    thought.append(piece);
                }

                @Override
                public void onReply(String words, String thoughts, List<ToolCall> calls, Generated generated) {
                    if (!thoughts.isEmpty()) {
                        events.add("thinks " + thoughts);
                    }
                    events.add((calls.isEmpty() ? "says " + words : "calls " + calls) + " [" + generated.ending + "]");
                    tell(generated, result);
                }

                @Override
                public void onResult(ToolCall call, JsonObject outcome) {
                    events.add("result " + call.name + " " + outcome);
                }
            });
        }
        result.addProperty("messages", session.messages().size());
        result.addProperty("heard", heard[0]);
        result.addProperty("thought", thought.toString());
        result.addProperty("has_thinking", session.hasThinking());
    }

    private static void stopFromAnotherThread(final ChatSession session) {
        Thread button = new Thread() {
            @Override
            public void run() {
                session.stop();
            }
        };
        button.start();
        try {
            button.join();
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private void prove(JsonObject step, JsonObject result) throws Exception {
        VerdictFile.About about = new VerdictFile.About();
        about.system = System.getProperty("os.name");
        about.abi = "x86_64";
        about.cores = Runtime.getRuntime().availableProcessors();
        about.appId = "org.gemcut.demo";
        about.librarySha256 = NativeLibrary.sha256(
                NativeLibrary.EXECUTORCH, new File(System.getProperty("gemcut.libraries")), new ArrayList<File>(), "");
        Prove.Outcome outcome = Prove.run(bundle, engine, about, counting(step, result));
        result.addProperty("passed", outcome.passed);
        result.addProperty("words", outcome.words);
        VerdictFile.write(new File(text(step, "file")), outcome.verdict);
    }
}
