package org.gemcut.demo.ui;

import android.content.ActivityNotFoundException;
import android.content.Context;
import android.content.Intent;
import android.hardware.camera2.CameraAccessException;
import android.hardware.camera2.CameraCharacteristics;
import android.hardware.camera2.CameraManager;
import android.net.Uri;
import android.provider.AlarmClock;
import org.gemcut.demo.R;
import org.gemcut.demo.session.PhoneActions;

/** The phone's own alarm clock, messages and torch. */
final class AndroidPhone implements PhoneActions {
    private static final String MESSAGE_SCHEME = "smsto";
    private static final String MESSAGE_BODY = "sms_body";

    private final Context app;
    private final Conversation conversation;

    AndroidPhone(Context app, Conversation conversation) {
        this.app = app;
        this.conversation = conversation;
    }

    @Override
    public void setAlarm(int hour, int minute) throws Failed {
        Intent intent = new Intent(AlarmClock.ACTION_SET_ALARM);
        intent.putExtra(AlarmClock.EXTRA_HOUR, hour);
        intent.putExtra(AlarmClock.EXTRA_MINUTES, minute);
        start(intent, R.string.no_clock);
    }

    /** A name isn't a number: it stands in the draft's field all the same, for the person to choose whom it means. */
    @Override
    public void draftMessage(String to, String text) throws Failed {
        Intent intent = new Intent(Intent.ACTION_SENDTO, Uri.fromParts(MESSAGE_SCHEME, to, null));
        intent.putExtra(MESSAGE_BODY, text);
        start(intent, R.string.no_messages);
    }

    /** Android starts no app from behind: only the chat's own screen may. */
    private void start(Intent intent, int none) throws Failed {
        Context screen = conversation.screen();
        if (screen == null) {
            throw new Failed(app.getString(R.string.in_background));
        }
        try {
            screen.startActivity(intent);
        } catch (ActivityNotFoundException error) {
            throw new Failed(app.getString(none));
        } catch (SecurityException error) {
            throw new Failed(app.getString(none));
        }
    }

    @Override
    public void setTorch(boolean on) throws Failed {
        CameraManager cameras = (CameraManager) app.getSystemService(Context.CAMERA_SERVICE);
        try {
            for (String id : cameras.getCameraIdList()) {
                Boolean flash = cameras.getCameraCharacteristics(id).get(CameraCharacteristics.FLASH_INFO_AVAILABLE);
                if (flash != null && flash) {
                    cameras.setTorchMode(id, on);
                    return;
                }
            }
        } catch (CameraAccessException error) {
            throw new Failed(app.getString(R.string.no_torch));
        } catch (IllegalArgumentException error) {
            throw new Failed(app.getString(R.string.no_torch));
        }
        throw new Failed(app.getString(R.string.no_torch));
    }
}
