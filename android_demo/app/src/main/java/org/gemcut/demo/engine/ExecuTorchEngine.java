package org.gemcut.demo.engine;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.Manifest;
import org.gemcut.core.Runner;
import org.gemcut.core.StopFilter;
import org.gemcut.demo.bundle.CheckedBundle;
import org.pytorch.executorch.Module;
import org.pytorch.executorch.extension.llm.LlmCallback;
import org.pytorch.executorch.extension.llm.LlmModule;

/**
 * ExecuTorch: LlmModule for chat, Module for logits. Only one of the two holds the program at a time, so that a replay
 * needs no more memory than a chat.
 */
public final class ExecuTorchEngine implements Engine {
    private static final float GREEDY = 0.0f;

    private final String version;
    private CheckedBundle bundle;
    private final Object lock = new Object(); // of chat: stop comes from another thread
    private volatile LlmModule chat;
    private Module program;
    private volatile boolean stopped;

    ExecuTorchEngine(String version) {
        this.version = version;
    }

    @Override
    public void open(CheckedBundle opened) throws BundleException {
        close();
        Registry.require(opened.manifest());
        bundle = opened;
        boolean loaded = false;
        try {
            chat = load();
            loaded = true;
        } finally {
            if (!loaded) {
                close();
            }
        }
    }

    private LlmModule load() throws BundleException {
        String what = "the model can't be loaded";
        LlmModule module = null;
        int code;
        try {
            module = new LlmModule(bundle.program().getPath(), bundle.tokenizer().getPath(), GREEDY);
            code = LlmCalls.load(module);
        } catch (BundleException error) {
            throw error;
        } catch (Exception error) {
            free(module);
            throw Failures.of(what, error);
        }
        if (code != 0) {
            free(module);
            throw Failures.of(what, code);
        }
        return module;
    }

    @Override
    public Generated generate(String prompt, List<String> stopTexts, Listener listener) throws BundleException {
        if (bundle == null) {
            throw new IllegalStateException("open comes first");
        }
        freeProgram();
        if (chat == null) {
            chat = load();
        }
        stopped = false;
        Heard heard = new Heard(new StopFilter(stopTexts), listener);
        int code;
        try {
            chat.resetContext();
            code = LlmCalls.generate(chat, prompt, bundle.manifest().context, heard);
        } catch (Exception error) {
            freeChat(); // after an error the module's position is anyone's guess
            if (heard.pieces == 0) {
                throw tooLong(error);
            }
            if (Failures.isCacheEnd(error)) {
                return heard.full();
            }
            throw Failures.of("the reply broke off", error);
        }
        if (heard.thrown != null) {
            throw heard.thrown;
        }
        if (code != 0) {
            freeChat();
            throw heard.pieces > 0 ? Failures.of("the reply broke off", code) : tooLong(Failures.of("", code));
        }
        if (heard.pieces == 0 && heard.stats.isEmpty() && !stopped) {
            freeChat();
            throw tooLong(null); // 1.0 and 1.1 log it, and return as if all were well
        }
        return heard.generated(bundle.manifest());
    }

    /** A prompt that gives nothing at all is, with a program that loads, one that doesn't fit. */
    private BundleException tooLong(Throwable cause) {
        int context = bundle.manifest().context;
        return new BundleException(BundleException.Kind.UNSUPPORTED,
                "this chat doesn't fit into the model's context of " + context + " tokens", "begin a new chat", cause);
    }

    @Override
    public void stop() {
        stopped = true;
        synchronized (lock) {
            if (chat != null) {
                chat.stop();
            }
        }
    }

    /** What LlmModule tells, on the thread that generates; nothing is thrown back into native code. */
    private final class Heard implements LlmCallback {
        private final long began = System.nanoTime();
        private final StopFilter filter;
        private final Listener listener;
        private String stats = "";
        private long first;
        private long last;
        private boolean silenced;
        private RuntimeException thrown;
        int pieces;

        Heard(StopFilter filter, Listener listener) {
            this.filter = filter;
            this.listener = listener;
        }

        @Override
        public void onResult(String piece) {
            last = System.nanoTime();
            if (pieces++ == 0) {
                first = last;
            }
            boolean was = filter.ended();
            if (!silenced) {
                tell(filter.take(piece));
            }
            if (stopped || silenced || filter.ended() && !was) {
                chat.stop(); // a stop that came before the first token is forgotten by LlmModule
            }
        }

        private void tell(String text) {
            try {
                if (!text.isEmpty() && !listener.onText(text)) {
                    stopped = true;
                }
            } catch (RuntimeException error) {
                thrown = error;
                silenced = true;
            }
        }

        @Override
        public void onStats(String json) {
            stats = json;
        }

        /** Since ExecuTorch 1.2; what failed is thrown too. */
        public void onError(int code, String message) {}

        Generated generated(Manifest manifest) {
            tell(filter.rest());
            int prompt = count("prompt_tokens");
            int said = count("generated_tokens");
            int tokens = said > 0 ? said : pieces;
            double seconds = (last - first) / 1e9;
            double speed = tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : 0.0;
            double wait = pieces > 0 ? (first - began) / 1e9 : 0.0;
            return new Generated(filter.text(), ending(manifest, prompt, tokens), prompt, tokens, wait, speed);
        }

        private Generated.Ending ending(Manifest manifest, int prompt, int tokens) {
            if (filter.ended()) {
                return Generated.Ending.COMPLETE;
            }
            if (stopped) {
                return Generated.Ending.STOPPED;
            }
            // Some versions count a reply's first token, some don't.
            boolean full = prompt >= 0 && prompt + tokens >= manifest.context - 1;
            return full ? Generated.Ending.FULL : Generated.Ending.COMPLETE;
        }

        /** The reply as far as it went. */
        Generated full() {
            Generated found = generated(bundle.manifest());
            return new Generated(found.text, Generated.Ending.FULL, found.promptTokens, found.tokens,
                    found.firstSeconds, found.tokensPerSecond);
        }

        /** One of LlmModule's counts, or -1. */
        private int count(String key) {
            try {
                JsonElement all = JsonParser.parseString(stats);
                JsonElement found = all instanceof JsonObject ? ((JsonObject) all).get(key) : null;
                return found == null ? -1 : found.getAsInt();
            } catch (JsonParseException error) {
                return -1;
            } catch (NumberFormatException error) {
                return -1;
            }
        }
    }

    @Override
    public Runner runner() throws BundleException {
        if (bundle == null) {
            throw new IllegalStateException("open comes first");
        }
        freeChat();
        if (program == null) {
            try {
                program = Module.load(bundle.program().getPath());
            } catch (RuntimeException error) {
                throw Failures.of("the model can't be loaded", error);
            }
        }
        return new ModuleRunner(program, bundle.manifest());
    }

    @Override
    public String runtime() {
        return Engines.EXECUTORCH;
    }

    @Override
    public String version() {
        return version;
    }

    private void freeChat() {
        synchronized (lock) {
            LlmModule was = chat;
            chat = null;
            free(was);
        }
    }

    private void freeProgram() {
        if (program != null) {
            program.destroy();
            program = null;
        }
    }

    private static void free(LlmModule module) {
        if (module != null) {
            module.resetNative();
        }
    }

    @Override
    public void close() {
        freeChat();
        freeProgram();
        bundle = null;
    }
}
